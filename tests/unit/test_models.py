"""The values that steps hand to each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from wrapper.models import Site
from wrapper.requests import NewRequest


@pytest.mark.parametrize(
    ("own", "sites", "chosen"),
    [(None, "", None), (None, "site.sif", "site.sif"), ("my.sif", "site.sif", "my.sif")],
)
def test_a_new_environment_stands_on_the_sites_base_image(
    own: str | None, sites: str, chosen: str | None
) -> None:
    request = NewRequest(prefix=Path("/p"), base_image=own, site=Site(base_image=sites))
    assert request.on_site_base().base_image == chosen
