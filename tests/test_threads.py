"""One thread inside, what was set before outside, also after an error."""

import pytest
import torch

from facenb.threads import one_thread


def test_one_thread_inside_and_what_was_set_outside():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), one_thread():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
