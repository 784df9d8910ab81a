"""What the embedded critics learn from: labels agree with the rules, and nothing held out is taught."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gensearch.shapes import world
from gensearch.shapes.detector import ShapesDetector
from gensearch.shapes.judge import ShapesJudge
from gensearch.shapes.reader import CELL, SHAPES, Reader, Reading
from gensearch.shapes.train.judges import critic, labels, pools, scenes
from verifiers.vlm.decompose import decompose


def drawn(count=48):
    rng = np.random.default_rng(8)
    pairs = [world.sample(rng) for _ in range(count)]
    return pairs, [np.asarray(world.render(scene)) for _, scene in pairs]


def test_labels_of_the_scene_and_of_the_detector_agree_on_clean_renders():
    pairs, pictures = drawn()
    own = labels.of_scenes([scene.things for _, scene in pairs])
    found = labels.of_detections([ShapesDetector().detect(picture) for picture in pictures])
    once = (own.some == 1)[:, :, None, None] & (own.some == 1)[:, None, :, None]
    same = [
        np.mean(own.some == found.some),
        np.mean(own.sure == found.sure),
        np.mean(own.color[own.every < labels.MIXED] == found.color[own.every < labels.MIXED]),
        np.mean(own.every == found.every),
        np.mean((own.relation == found.relation) | ~once),
    ]
    assert min(same) > 0.98, same


def oracle(table):
    """A reading that is certain of a table."""

    def sure_of(column, classes):
        return 60.0 * torch.nn.functional.one_hot(torch.from_numpy(column).long().clamp(min=0), classes).float()

    relation = 60.0 * (2 * torch.from_numpy(table.relation).float() - 1)
    return Reading(
        *(sure_of(table.some, 6), sure_of(table.sure, 6), sure_of(table.color, 9), sure_of(table.every, 9), relation),
        cells_of(torch.from_numpy(table.objects)),
    )


def cells_of(objects, certain=60.0):
    """Logits of cells that are right about objects, written cell by cell."""
    cells = torch.zeros(len(objects), 64, sum(CELL))
    cells[..., SHAPES] = certain  # none
    for row, own in enumerate(objects.tolist()):
        for x1, y1, x2, y2, sure, shape, color in reversed([o for o in own if o[2] > o[0]]):
            cell = cells[row, 8 * int((y1 + y2) / 16) + int((x1 + x2) / 16)]
            cell.zero_()
            cell[int(shape)] = certain
            cell[SHAPES + 1] = torch.tensor(sure).clamp(1e-6, 1 - 1e-6).logit()
            cell[SHAPES + 2 + (int(color) if color >= 0 else 8)] = certain
            cell[-4:] = torch.tensor([x1, y1, x2, y2]) / 64
    return cells


def test_a_reading_that_is_certain_of_the_labels_gives_the_verdicts_of_the_exact_judge():
    from gensearch.shapes.critic import understand

    pairs, pictures = drawn()
    table = labels.of_detections([ShapesDetector().detect(picture) for picture in pictures])
    reading = oracle(table)
    media = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255
    prompts = [line["prompt"] for line, _ in pairs if line["tag"] != "color_count"]  # they count at another threshold
    agree = []
    for prompt in prompts[:16]:
        verdicts = ShapesJudge()(media, [prompt] * len(media)).total
        logs = torch.stack([understand(question)(reading) for question in decompose(prompt)]).sum(0)
        agree.append((logs.exp().round() == verdicts).float().mean().item())
    assert min(agree) == 1


def test_no_prompt_of_the_benchmark_is_drawn():
    asked = pools.prompts(300, 5)
    assert not set(asked) & {line["prompt"] for line in world.benchmark(10**6)}
    assert not any(world.asks_held_out(world.parse(prompt)) for prompt in asked)
    assert len({world.parse(prompt)["tag"] for prompt in asked}) == len(pools.MIX)
    assert asked == pools.prompts(300, 5) != pools.prompts(300, 6)


def test_pictures_that_show_a_held_out_pair_are_dropped():
    (shape, color), *_ = sorted(world.HELD_OUT_PAIRS)
    other = next(c for c in world.COLORS if (shape, c) not in world.HELD_OUT_PAIRS)
    made = [
        np.array(world.render(world.Scene((world.Thing(shape, c, 30, 30, 12),), (240, 240, 240))))
        for c in (color, other)
    ]
    kept = pools.labelled(made)
    assert len(kept["media"]) == 1
    assert torch.equal(kept["media"][0], torch.from_numpy(made[1]).permute(2, 0, 1))


def test_mirroring_swaps_left_and_right_as_the_detector_sees_it():
    pairs, pictures = drawn(24)
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    found = [ShapesDetector().detect(picture) for picture in pictures]
    table = labels.of_detections(found)
    own = torch.from_numpy(table.relation), torch.from_numpy(table.objects)
    flipped, relation, objects = critic.mirror(x, *own, torch.arange(24) % 2 == 0)
    again = labels.of_detections([ShapesDetector().detect(p.permute(1, 2, 0).numpy()) for p in flipped])
    assert (relation.numpy() == again.relation).mean() > 0.999
    certain = objects[:, 0, 4] > objects[:, 1, 4] + 0.1  # the order is clear
    assert certain.sum() > 3
    assert (objects[certain, 0, :4] - torch.from_numpy(again.objects)[certain, 0, :4]).abs().max() <= 2
    assert torch.equal(flipped[1], x[1])


def test_colours_and_relations_of_absent_shapes_do_not_count():
    torch.manual_seed(0)
    blank = labels.blank(3)
    *tensors, _ = [torch.from_numpy(column).long() for column in blank]
    logits = [torch.randn(3, 8, n, requires_grad=True) for n in (6, 6, 9, 9)]
    relation = torch.randn(3, 8, 8, 4, requires_grad=True)
    losses = critic.reading_loss(Reading(*logits, relation, relation), *tensors)  # type: ignore[call-arg]
    losses.backward()
    assert relation.grad is not None
    assert relation.grad.abs().max() == 0
    assert logits[0].grad is not None
    assert logits[0].grad.abs().min() > 0


def test_cells_that_are_right_have_the_smallest_loss():
    table = labels.of_detections([ShapesDetector().detect(picture) for picture in drawn(24)[1]])
    objects = torch.from_numpy(table.objects)
    right = cells_of(objects)
    least = critic.cell_loss(right, objects).item()
    sure = objects[objects[..., 2] > objects[..., 0]][:, 4].double()
    assert least == pytest.approx(torch.special.entr(torch.stack([sure, 1 - sure])).sum(0).mean().item(), abs=0.05)
    for part in (slice(0, 9), slice(9, 10), slice(10, 19), slice(19, 23)):
        wrong = right.clone()
        wrong[..., part] = right[..., part].roll(1, 1)  # of the neighbouring cell
        assert critic.cell_loss(wrong, objects).item() > least + 0.1
    assert critic.cell_loss(right, torch.zeros_like(objects)).isfinite()


def test_the_statistics_of_batch_norms_are_those_of_the_averaged_weights():
    torch.manual_seed(2)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    media = torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8)
    model.train()(torch.randn(8, 3, 8, 8) + 3)  # statistics of something else
    critic.settle(model, media, 32, 0, batches=40)
    with torch.no_grad():
        out = model[0](media.float() / 255)
        torch.testing.assert_close(model[1].running_mean, out.mean((0, 2, 3)), atol=0.02, rtol=0)
        torch.testing.assert_close(model[1].running_var, out.var((0, 2, 3)), atol=0.002, rtol=0.1)
        assert not model.training
        whole, alone = model(media.float() / 255), model(media[:1].float() / 255)
    torch.testing.assert_close(whole[:1], alone)


def test_folding_batch_norms_changes_no_answer():
    torch.manual_seed(5)
    model = Reader("convolutions", 32, 1)
    names = set(model.state_dict())
    critic.normalise(model)
    assert set(model.state_dict()) != names
    media = torch.randint(0, 256, (40, 3, 64, 64), dtype=torch.uint8)
    critic.settle(model, media, 16, 0, batches=3)
    with torch.no_grad():
        before = model(media[:3].float() / 255)
        critic.fold(model)
        after = model(media[:3].float() / 255)
    assert set(model.state_dict()) == names
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


def test_scenes_are_a_function_of_their_number_and_half_pass_the_autoencoder():
    class Flat:
        def encode(self, x):
            self.seen = x
            return self

        latent_dist = property(lambda self: self)

        def mode(self):
            return self.seen

        def decode(self, z):
            self.sample = torch.zeros_like(self.seen)
            return self

    one, two = scenes.make_part(Flat(), 3, 8), scenes.make_part(Flat(), 3, 8)
    assert torch.equal(one["media"], two["media"])
    assert (one["media"][1::2] == 128).all()
    assert one["media"][::2].float().std() > 10
    assert one["some"].shape == (8, 8)


@pytest.mark.slow
def test_a_small_critic_fits_scenes_and_is_loaded_again(tmp_path):
    for number in range(2):
        rng = np.random.default_rng(number)
        things = [world.sample(rng, "colors")[1] for _ in range(pools.PART)]
        media = torch.from_numpy(np.stack([np.asarray(world.render(s)) for s in things])).permute(0, 3, 1, 2)
        table = labels.of_scenes([s.things for s in things])
        part = {"media": media.contiguous()} | {k: torch.from_numpy(v) for k, v in table._asdict().items()}
        pools.write(pools.path(tmp_path / "pools", "scenes", number), part)
    settings: dict[str, Any] = {
        "body": "convolutions",
        "depth": 1,
        "width": 32,
        "sources": {"scenes": 1000},
        "size": 32,
        "seed": 0,
    }
    critic.train(tmp_path, name="small", steps=160, lr=3e-3, **settings)
    from gensearch.shapes.critic import Critic

    *answers, _ = [torch.from_numpy(column).long() for column in table]
    trained = Critic.load(tmp_path / "small" / "model").model

    def loss(model):
        with torch.no_grad():
            return critic.reading_loss(model(media.float() / 255), *answers).item()

    assert loss(trained) < 0.5 * loss(Reader("convolutions", 32, 1))
