"""The names that `dtir` and the rooms of `dtir.apis` offer are there, as the documentation imports them."""

import importlib

import pytest

PACKAGES = {
    "dtir": {"RestorationInferencer", "restore"},
    "dtir.apis": {"GuidedRestorer", "RestorationInferencer", "RestoreReport", "load_backbone"},
    "dtir.apis.adaptation": {"AdaptationSettings", "adapt", "save_adapted", "write_adaptation_report"},
    "dtir.apis.archive": {"ArchiveOptions", "Cluster"},
    "dtir.apis.export": {"export_model"},
    "dtir.apis.guided": {"GuidedRestorer", "guided_settings"},
    "dtir.apis.published": {"load_backbone"},
}


@pytest.mark.parametrize("name", PACKAGES)
def test_what_a_package_offers_is_there(name):
    package = importlib.import_module(name)

    assert PACKAGES[name] <= set(package.__all__)
    for offered in package.__all__:
        assert getattr(package, offered) is not None


@pytest.mark.parametrize("name", PACKAGES)
def test_a_name_that_is_not_offered_is_an_error(name):
    package = importlib.import_module(name)

    with pytest.raises(AttributeError, match=f"'{name}' has no attribute 'nothing'"):
        _ = package.nothing
