# SPDX-License-Identifier: GPL-3.0-or-later
"""What several tests of SIP need."""

import pytest

from tests.sip.certificates import Certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for localhost."""
    return Certificates.make(tmp_path_factory.mktemp("certificates"))
