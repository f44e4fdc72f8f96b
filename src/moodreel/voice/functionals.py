"""openSMILE's 1582 functionals of a clip's sound: the INTERSPEECH 2010 set that the EmotiW challenges handed out.

Source: Eyben, Wöllmer, Schuller 2010, "openSMILE"; Schuller et al. 2010, "The INTERSPEECH 2010 Paralinguistic
Challenge". openSMILE is an extra (`functionals`) under a licence for research: see README.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from moodreel.errors import MoodreelError
from moodreel.extras import advise

RATE_HZ = 16_000
N_FUNCTIONALS = 1582
LEAST_S = 0.4
"""Sound shorter than this gives openSMILE's longest windows nothing to work on."""


def extract_functionals(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Compute the functionals of a stretch of sound.

    Args:
        samples: mono float32 at 16 kHz, shape (n_samples,), values -1 to 1, at least 0.4 s.

    Returns:
        float32, shape (1582,), finite, each in its own unit and range.

    Raises:
        MoodreelError: openSMILE is not installed.
        ValueError: the sound is too short or not finite.
    """
    if len(samples) < LEAST_S * RATE_HZ or not np.isfinite(samples).all():
        raise ValueError(f"expected at least {LEAST_S} s of finite sound, got {len(samples) / RATE_HZ:.2f} s")
    table = _open_smile().process_signal(samples, RATE_HZ)
    values = np.asarray(table, dtype=np.float32)[0]
    return np.asarray(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0))


def change_speed(sound: npt.NDArray[np.float32], speed: float) -> npt.NDArray[np.float32]:
    """Play faster (speed above 1) or slower: tempo, pitch and formants move together."""
    n_output = max(round(len(sound) / speed / 100) * 100, 100)
    n_padded = -(-len(sound) // 100) * 100
    spectrum = np.fft.rfft(sound, n_padded)
    resized = np.zeros(n_output // 2 + 1, dtype=complex)
    n_kept = min(len(resized), len(spectrum))
    resized[:n_kept] = spectrum[:n_kept]
    return np.asarray(np.fft.irfft(resized, n_output) * n_output / n_padded, dtype=np.float32)


@cache
def _open_smile() -> Any:
    try:
        import opensmile
    except ImportError as error:
        raise MoodreelError(
            f"openSMILE's functionals are needed and not installed: {advise('functionals')} "
            "(research licence), or use a recipe without them, such as best"
        ) from error
    return opensmile.Smile(opensmile.FeatureSet.IS10, opensmile.FeatureLevel.Functionals, num_workers=1)
