"""Which adapter runs which pipeline's networks in a loop of our own."""

NATIVE = {  # pipeline class -> module and class of the adapter that runs its networks in our own loop
    "StableDiffusionPipeline": ("gensearch.models.stable_diffusion", "StableDiffusion"),
    "StableDiffusionXLPipeline": ("gensearch.models.stable_diffusion", "StableDiffusion"),
    "FluxPipeline": ("gensearch.models.flux", "Flux"),
    "SanaSprintPipeline": ("gensearch.models.sana_sprint", "SanaSprint"),
    "JanusPipeline": ("gensearch.models.janus", "Janus"),
    "AnyFlowFARPipeline": ("gensearch.models.anyflow", "AnyFlow"),
    "WanPipeline": ("gensearch.models.wan", "Wan"),
    "LTXPipeline": ("gensearch.models.ltx", "LTX"),
    "HeliosPipeline": ("gensearch.models.helios", "Helios"),
    "WanImageToVideoPipeline": ("gensearch.models.chaining", "Chaining"),
    "LTXConditionPipeline": ("gensearch.models.chaining", "Chaining"),
}
