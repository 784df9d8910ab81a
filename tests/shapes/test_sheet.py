from __future__ import annotations

import numpy as np
import pytest

from gensearch.shapes import world
from gensearch.shapes.sheet import LEGEND, ZOOM, sheet

SCENE = world.Scene((world.Thing("square", "blue", 32, 32, 12),), (240, 240, 240))
PICTURE = np.asarray(world.render(SCENE))


def test_a_sheet_holds_one_tile_per_picture():
    page = sheet([PICTURE] * 5, columns=3)
    assert page.size == (3 * (64 * ZOOM + 4), 2 * (64 * ZOOM + LEGEND + 4))


def test_clear_objects_get_a_green_box_and_unclear_ones_a_red_box():
    broken = PICTURE.copy()
    broken[:, 32:] = 240
    for picture, color in ((PICTURE, (0, 128, 0)), (broken, (255, 0, 0))):
        counted = sheet([picture], columns=1).getcolors(1 << 20)
        assert counted is not None
        colors = {c for _, c in counted}
        assert ({(0, 128, 0), (255, 0, 0)} & colors) == {color}


def test_titles_must_match_the_pictures():
    with pytest.raises(ValueError, match="zip"):
        sheet([PICTURE, PICTURE], ["one"])
