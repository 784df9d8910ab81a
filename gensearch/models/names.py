"""Which adapter runs which pipeline's networks in a loop of our own."""

NATIVE = {  # pipeline class -> module and class of the adapter that runs its networks in our own loop
    "StableDiffusionPipeline": ("gensearch.models.native.stable_diffusion", "StableDiffusion"),
    "StableDiffusionXLPipeline": ("gensearch.models.native.stable_diffusion", "StableDiffusion"),
    "FluxPipeline": ("gensearch.models.native.flux", "Flux"),
    "SanaSprintPipeline": ("gensearch.models.native.sana_sprint", "SanaSprint"),
    "JanusPipeline": ("gensearch.models.tokens.janus", "Janus"),
    "AnyFlowFARPipeline": ("gensearch.models.chunks.anyflow", "AnyFlow"),
    "WanPipeline": ("gensearch.models.native.wan", "Wan"),
    "LTXPipeline": ("gensearch.models.native.ltx", "LTX"),
    "HeliosPipeline": ("gensearch.models.chunks.helios", "Helios"),
    "WanImageToVideoPipeline": ("gensearch.models.chunks.chaining", "Chaining"),
    "LTXConditionPipeline": ("gensearch.models.chunks.chaining", "Chaining"),
}

GENERAL = {  # adapters for pipelines of any class
    "probed": ("gensearch.models.probed.model", "Probed"),
    "black_box": ("gensearch.models.black_box", "BlackBox"),
}
