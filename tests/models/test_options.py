from __future__ import annotations

import json

import pytest
import torch

from gensearch import registry
from gensearch.models import load as module
from gensearch.models.black_box import BlackBox
from gensearch.models.load import load
from gensearch.models.native.stable_diffusion import StableDiffusion
from gensearch.models.options import Batch, Shape, checked
from gensearch.models.probed.model import Probed
from gensearch.models.toy.names import TOYS
from tests.builders import tiny

WHOLE = "input should be a valid integer"


class Boxes:
    name = "boxes"

    @checked
    def __init__(self, source, noise_shape: Shape = (3, 4), *, batch_size: Batch = 1, **settings: object) -> None:
        self.noise_shape, self.batch_size, self.settings = noise_shape, batch_size, settings


def test_fit_options_arrive_as_they_were_given():
    made = Boxes(None, noise_shape=torch.Size([2, 2]), batch_size=4096, steps=3, anything=[1])
    assert (made.noise_shape, made.batch_size, made.settings) == ((2, 2), 4096, {"steps": 3, "anything": [1]})
    assert Boxes(None, noise_shape=[2, 2]).noise_shape == [2, 2]  # type: ignore[arg-type, comparison-overlap]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "option batch_size of boxes is 0: it should be at least 1 and at most 4096"),
        ({"batch_size": 4097}, "option batch_size of boxes is 4097: it should be at least 1 and at most 4096"),
        ({"batch_size": True}, f"option batch_size of boxes is True: {WHOLE}"),
        ({"batch_size": "2"}, f"option batch_size of boxes is '2': {WHOLE}"),
        ({"noise_shape": "44"}, "option noise_shape of boxes is '44': input should be a valid tuple"),
        ({"noise_shape": (4, 0)}, "noise_shape of boxes"),
        ({"num_inference_steps": 2.0}, f"option num_inference_steps of boxes is 2.0: {WHOLE}"),
        ({"height": "tall\nwide"}, rf"option height of boxes is 'tall\\nwide': {WHOLE}"),
    ],
)
def test_unfit_options_are_refused_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        Boxes(None, **options)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "sd"
    tiny.stable_diffusion().save_pretrained(folder)
    (folder / "gensearch.json").write_text(json.dumps({"steps": 2}))
    return folder


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": -1}, "option batch_size of StableDiffusion is -1: it should be at least 1"),
        ({"batch_size": 5000}, "it should be at least 1 and at most 4096"),
        ({"batch_size": 1.5}, WHOLE),
        ({"steps": True}, f"option steps of StableDiffusion is True: {WHOLE}"),
        ({"steps": 2.5}, WHOLE),
        ({"steps": 0}, "option steps of StableDiffusion is 0: it should be at least 1"),
        (
            {"guidance_scale": "abc"},
            "option guidance_scale of StableDiffusion is 'abc': input should be a valid number",
        ),
        ({"guidance_scale": float("nan")}, "input should be a finite number"),
        ({"guidance_rescale": "x"}, "option guidance_rescale of StableDiffusion is 'x'"),
        ({"negative_prompt": 5}, "option negative_prompt of StableDiffusion is 5: input should be a valid string"),
        ({"name": 5}, "option name of StableDiffusion is 5: input should be a valid string"),
        ({"dtype": 3}, "option dtype of load is 3: input should be a valid string"),
        ({"adapter": 3}, "option adapter of load is 3"),
        ({"device": "gpu9"}, r"device 'gpu9' cannot be used \(.*\); take 'cpu' or 'cuda'"),
        ({"adapter": "probed", "steps": 0}, "option num_inference_steps of Probed is 0"),
        ({"adapter": "probed", "guidance_scale": "x"}, "option guidance_scale of Probed is 'x'"),
        ({"adapter": "black_box", "noise_shape": 4}, "option noise_shape of BlackBox is 4"),
    ],
)
def test_options_of_a_folder_are_refused_before_it_is_read(saved, monkeypatch, options, message):
    monkeypatch.setattr(module, "read", lambda *_: pytest.fail("read the weights first"))
    with pytest.raises(ValueError, match=message) as caught:
        load(saved, **options)
    assert "copy the folder again" not in str(caught.value)


def test_adapters_refuse_them_too():
    with pytest.raises(ValueError, match="option guidance_rescale of StableDiffusion is 1.5"):
        StableDiffusion(None, guidance_rescale=1.5)
    with pytest.raises(ValueError, match="option batch_size of Probed is 0"):
        Probed(None, batch_size=0)
    with pytest.raises(ValueError, match="option nfe of BlackBox is 0"):
        BlackBox(None, (3, 4, 4), nfe=0)


@pytest.mark.parametrize("name", TOYS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "is 0: it should be at least 1"),
        ({"steps": True}, f"is True: {WHOLE}"),
        ({"batch_size": 5000}, "option batch_size of {name} is 5000: it should be at least 1 and at most 4096"),
        ({"churn": -1}, "option churn of {name} is -1: it should be at least 0"),
        ({"guidance_scale": "abc"}, "is 'abc': input should be a valid number"),
    ],
)
def test_toys_refuse_them_too(name, options, message):
    if name == "toy/chunks" and {"churn", "guidance_scale"} & options.keys():
        message = "toy/chunks has no option"
    with pytest.raises(ValueError, match=message.format(name=name)):
        registry.load_model(name, **options)
