"""Frames and sound in memory are read as the file that holds them is; what is neither is refused in one line."""

import av
import numpy as np
import pytest

from media_files import moving_bar, tone, write_clip, write_sound
from moodreel.errors import MediaError
from moodreel.media.arrays import Arrays
from moodreel.media.clip import Frame, open_clip

RATE_HZ = 10
FRAMES = [moving_bar((64, 48))(index) for index in range(20)]
SOUND = (tone()(np.arange(32_000) / 16_000) * 32767).astype(np.int16)


def read(media, side_px=48, rate_hz=5, **settings):
    """Return the clip, its frames and its sound, once streamed."""
    with open_clip(media, **settings) as clip:
        items = list(clip.stream(longest_side_px=side_px, frames_rate_hz=rate_hz))
    frames = [item for item in items if isinstance(item, Frame)]
    blocks = [item.samples for item in items if not isinstance(item, Frame)]
    return clip, frames, np.concatenate([np.zeros(0, np.float32), *blocks])


def decode(path):
    """Return the pictures and the samples of a file as somebody else would decode them."""
    with av.open(str(path)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        container.seek(0)
        blocks = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return pictures, np.concatenate(blocks, axis=1).reshape(-1)


@pytest.mark.parametrize("settings", [{}, {"start_s": 0.5, "end_s": 1.3}])
def test_arrays_of_a_lossless_file_are_streamed_exactly_as_the_file(tmp_path, settings):
    path = write_clip(tmp_path / "a.nut", 2, video_codec="rawvideo", pix_fmt="rgb24", audio_codec="pcm_s16le")
    pictures, samples = decode(path)
    of_file, frames, sound = read(path, **settings)
    arrays = Arrays(frames=pictures, frames_rate_hz=RATE_HZ, sound=samples, sound_rate_hz=16_000)
    of_arrays, same_frames, same_sound = read(arrays, **settings)
    assert len(frames) >= 4 and frames[0].pixels.shape == (36, 48, 3), "nothing is scaled, so scaling is not compared"
    assert [frame.time_s for frame in frames] == [frame.time_s for frame in same_frames]
    assert all((one.pixels == two.pixels).all() for one, two in zip(frames, same_frames, strict=True))
    np.testing.assert_array_equal(sound, same_sound)
    assert of_file.decoded_s == of_arrays.decoded_s == of_arrays.duration_s
    assert of_arrays.warnings == () and of_arrays.name == "<arrays>"


@pytest.mark.parametrize("channel", ["mix", "left", "right"])
def test_channels_of_arrays_are_those_of_the_file(tmp_path, channel):
    path = write_sound(tmp_path / "a.wav", 1, layout="stereo", audio_codec="pcm_s16le")
    with av.open(str(path)) as container:
        samples = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1).reshape(-1, 2)
    samples[:, 1] //= 2
    _, _, heard = read(Arrays(sound=samples, sound_rate_hz=16_000), channel=channel)
    shares = {"mix": 0.75, "left": 1.0, "right": 0.5}
    np.testing.assert_allclose(heard, samples[:, 0] / 32768 * shares[channel], atol=1e-3)


def test_floats_and_whole_numbers_sound_alike():
    _, _, whole = read(Arrays(sound=SOUND, sound_rate_hz=16_000))
    for kind in (np.float32, np.float64):
        _, _, floats = read(Arrays(sound=(SOUND / 32768).astype(kind), sound_rate_hz=16_000))
        np.testing.assert_allclose(floats, whole, atol=1e-4)


def test_frames_of_a_generator_are_read_once():
    with open_clip(Arrays(frames=iter(FRAMES), frames_rate_hz=RATE_HZ)) as clip:
        assert len(list(clip.stream(longest_side_px=64, frames_rate_hz=5))) == 10 and clip.decoded_s == 2.0
        with pytest.raises(MediaError, match="can be read only once; pass them as a list"):
            list(clip.stream(longest_side_px=64, frames_rate_hz=5))


@pytest.mark.parametrize("frames", [FRAMES, np.stack(FRAMES)], ids=["list", "array"])
def test_frames_that_are_held_are_read_as_often_as_asked(frames):
    with open_clip(Arrays(frames=frames, frames_rate_hz=RATE_HZ)) as clip:
        assert clip.duration_s == 2.0
        first, second = ([f.time_s for f in clip.stream(longest_side_px=64, frames_rate_hz=5)] for _ in range(2))
    assert first == second == [index / 5 for index in range(10)]


def test_a_generator_is_not_held_whole():
    alive = []

    def draw():
        for index in range(100):
            alive.append(index)
            yield FRAMES[0]

    with open_clip(Arrays(frames=draw(), frames_rate_hz=RATE_HZ)) as clip:
        next(clip.stream(longest_side_px=64, frames_rate_hz=5))
        assert len(alive) <= 3


def test_one_frame_without_sound_is_a_still_picture():
    clip, frames, _ = read(Arrays(frames=FRAMES[:1], frames_rate_hz=25))
    assert clip.video.is_still and clip.duration_s == clip.decoded_s == 0 and len(frames) == 1


def test_no_frame_beside_sound_is_no_picture():
    clip, frames, sound = read(Arrays(frames=[], frames_rate_hz=25, sound=SOUND, sound_rate_hz=16_000))
    assert not clip.has_picture and not frames and len(sound) == 32_000


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({}, "neither frames nor sound"),
        ({"frames": FRAMES}, "frames_rate_hz is None, expected 0.0167 to 1000"),
        ({"frames": FRAMES, "frames_rate_hz": float("nan")}, "frames_rate_hz is nan"),
        ({"sound": SOUND}, "sound_rate_hz is None"),
        ({"sound": SOUND, "sound_rate_hz": 16}, "sound_rate_hz is 16, expected 1e+03 to 768000"),
        ({"sound": SOUND.astype(np.int32), "sound_rate_hz": 16_000}, "int32 of shape (32000,), expected int16, or"),
        ({"sound": SOUND.astype(np.float32), "sound_rate_hz": 16_000}, "sound goes up to 16383"),
        ({"sound": np.zeros((2, 16_000), np.int16), "sound_rate_hz": 16_000}, "channels first: pass sound.T"),
        ({"sound": np.zeros((2, 2, 2), np.int16), "sound_rate_hz": 16_000}, "of shape (2, 2, 2)"),
        ({"frames": [], "frames_rate_hz": 25}, "holds no frame"),
        ({"frames": FRAMES[0], "frames_rate_hz": 25}, "frame 0 is uint8 of shape (64, 3)"),
        ({"frames": [FRAMES[0] / 255], "frames_rate_hz": 25}, "frame 0 is float64 of shape (48, 64, 3)"),
        ({"frames": [FRAMES[0][..., 0]], "frames_rate_hz": 25}, "one picture goes into a list"),
        ({"frames": [np.zeros((0, 4, 3), np.uint8)], "frames_rate_hz": 25}, "of shape (0, 4, 3)"),
        (
            {"frames": [*FRAMES, FRAMES[0][:20]], "frames_rate_hz": 25},
            "frame 20 is uint8 of shape (20, 64, 3), the first",
        ),
    ],
)
def test_what_is_no_clip_is_refused_in_one_line(made, told):
    with pytest.raises(MediaError) as caught:
        read(Arrays(**made))
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_a_picture_too_large_is_refused_before_it_is_scaled():
    huge = np.broadcast_to(np.zeros(3, np.uint8), (8193, 8193, 3))
    with pytest.raises(MediaError, match="too large"):
        open_clip(Arrays(frames=[huge], frames_rate_hz=25))


def test_what_a_generator_raises_is_raised():
    def draw():
        yield FRAMES[0]
        yield FRAMES[0]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read(Arrays(frames=draw(), frames_rate_hz=25))


def test_a_part_that_begins_behind_the_end_is_refused():
    with pytest.raises(MediaError, match=r"ends at 2.0 s; expected an earlier start"):
        read(Arrays(sound=SOUND, sound_rate_hz=16_000), start_s=5.0)
