"""How logits are kept: what goes in comes out, to the precision that was chosen."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from distillkit.errors import TargetsError
from distillkit.targets.codecs import Dense, from_settings

LOGITS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
DTYPES: list[Any] = ["float32", "float16"]


def there_and_back(codec: Dense, logits: np.ndarray) -> np.ndarray:
    schema = pa.schema(codec.fields(logits.shape[1]))
    return codec.view(pa.record_batch(codec.encode(logits), schema=schema))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("logits", [LOGITS, LOGITS[:, :1], LOGITS[::-1], LOGITS[:1]])
def test_logits_come_back_in_the_kept_dtype(dtype: Any, logits: np.ndarray) -> None:
    back = there_and_back(Dense(dtype), logits)
    assert back.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(back, logits.astype(dtype))


def test_a_slice_of_a_shard_is_viewed_as_that_slice() -> None:
    codec = Dense()
    batch = pa.record_batch(codec.encode(LOGITS), schema=pa.schema(codec.fields(3)))
    np.testing.assert_array_equal(codec.view(batch.slice(2, 2)), LOGITS[2:4])


def test_what_float16_cannot_hold_is_refused() -> None:
    """A real-valued label may well lie beyond 65,504; kept as infinity it would spoil a student."""
    with pytest.raises(TargetsError, match="float32"):
        Dense("float16").encode(np.array([[70_000.0]], np.float32))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_codec_is_made_again_from_its_settings(dtype: Any) -> None:
    assert from_settings(Dense(dtype).settings()) == Dense(dtype)


@pytest.mark.parametrize("settings", [{"name": "sparse", "k": 8}, {}])
def test_a_codec_of_a_newer_distillkit_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(TargetsError, match=rf"{settings.get('name')}: not known .* dense"):
        from_settings(settings)
