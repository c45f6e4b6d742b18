"""The figure shows what excites a filter, and says what is special about it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recsys.audio.listening import Heard
from recsys.audio.network import SoundNetwork
from recsys.config import NetworkConfig
from scripts.draw_filters import EXCERPTS, Excitement, about, draw

N_MELS, N_FRAMES = 8, 60
CONFIG = NetworkConfig(filters=(2, 3), filter_frames=4, pools=(4, 2), dense=(4,))


def heard(tempo_bpm: float, mode: str = "major", place: int = 30) -> Heard:
    """Return a recording with one bang in band 5."""
    bands = np.full((N_FRAMES, N_MELS), -60, np.float16)
    bands[place, 5] = 0
    about = {"tempo_bpm": tempo_bpm, "mode": mode, "time_signature": "4/4", "loudness_lufs": -14.0}
    return Heard(about, bands)


@pytest.fixture
def network() -> SoundNetwork:
    """A network whose first filter hears a bang in band 5 in the last of its four frames."""
    torch.manual_seed(0)
    made = SoundNetwork(N_MELS, 4, CONFIG).eval()
    with torch.no_grad():
        made.convolutions[0].weight.zero_()
        made.convolutions[0].weight[0, 5, 3] = 1
        made.mean.fill_(-60)
    return made


def test_the_place_of_excitement_is_found_to_the_frame(network: SoundNetwork) -> None:
    bands = [heard(100, place=place).bands for place in (20, 41)]
    excited = Excitement.of(network, bands, 1)
    assert excited.width == 4
    assert excited.frames[:, 0].tolist() == [17, 38]
    # By hand: pooled by four the second convolution steps by 4 and hears 4 + 3 + 3 * 4 frames.
    second = Excitement.of(network, bands, 2)
    assert second.width == 19
    assert (second.frames % 4 == 0).all()


def test_what_is_astonishing_is_told_and_nothing_else() -> None:
    random = np.random.default_rng(0)
    all_of_them = [
        heard(float(t), "minor" if t > 150 else "major") for t in random.uniform(60, 180, 300)
    ]
    fast = sorted(all_of_them, key=lambda one: -one.descriptors["tempo_bpm"])[:EXCERPTS]
    first, second = sorted(about(fast, all_of_them))
    assert first.startswith("faster: 17")
    assert second.startswith("in minor: 100%")
    assert about(all_of_them[:EXCERPTS], all_of_them) == []


def test_a_row_a_layer_and_a_panel_a_filter(network: SoundNetwork) -> None:
    items = [heard(60 + n, place=10 + n) for n in range(40)]
    figure = draw(items, network, [1, 2], 2)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[0].startswith("filter 0")
    labels = [axis.get_ylabel() for axis in figure.axes]
    assert any("1st convolution,\nhears 0.2 s" in label for label in labels)
    assert any("2nd convolution,\nhears 0.9 s" in label for label in labels)
