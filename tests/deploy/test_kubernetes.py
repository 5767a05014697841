"""The manifests keep to Kubernetes' schema and to its strictest standard for pods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.cli.running import Line
from tests.deploy.exposition import DEPLOY

FILES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
VERSIONS = ("1.30", "1.34")
"""The first one in which a pause before the end needs no program, and a current one."""

Manifest = dict[str, Any]


def manifests() -> Iterator[Manifest]:
    for path in FILES:
        yield from yaml.safe_load_all(path.read_text())


def pods() -> Iterator[Manifest]:
    """The pods that the manifests make, by their specs."""
    for manifest in manifests():
        spec = manifest.get("spec", {})
        if manifest["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if "template" in spec:
            yield spec["template"]["spec"]


def containers() -> Iterator[Manifest]:
    for pod in pods():
        yield from pod["containers"]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_keeps_to_the_schema(version: str) -> None:
    for manifest in manifests():
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_field_that_there_is_not_is_noticed() -> None:
    manifest = next(m for m in manifests() if m["kind"] == "Deployment")
    manifest["spec"]["template"]["spec"]["containers"][0]["readyProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)


def test_every_pod_is_restricted() -> None:
    found = [*pods()]
    assert len(found) == 4
    for pod in found:
        of_pod = pod["securityContext"]
        assert of_pod["runAsNonRoot"]
        assert of_pod["runAsUser"] >= 10_000
        assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
    for container in containers():
        of_container = container["securityContext"]
        assert of_container["readOnlyRootFilesystem"]
        assert of_container["allowPrivilegeEscalation"] is False
        assert of_container["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]


def test_secrets_come_as_files_alone() -> None:
    """None of them is a Secret itself, or a variable: every program of the pod could read that."""
    assert "Secret" not in {manifest["kind"] for manifest in manifests()}
    for container in containers():
        assert "env" not in container
        assert [source for source in container["envFrom"] if "secretRef" in source] == []
    for pod in pods():
        assert any("secret" in volume for volume in pod["volumes"])


def test_every_mount_has_its_volume() -> None:
    for pod in pods():
        volumes = [volume["name"] for volume in pod["volumes"]]
        for container in pod["containers"]:
            assert sorted(m["name"] for m in container["volumeMounts"]) == sorted(volumes)


def test_selectors_find_the_pods_of_the_service_alone() -> None:
    by_kind = {manifest["kind"]: manifest for manifest in manifests()}
    deployment = by_kind["Deployment"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels
    assert by_kind["Service"]["spec"]["selector"] == labels
    assert by_kind["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert by_kind["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["metadata"] != labels


def test_the_probes_ask_for_paths_that_there_are() -> None:
    (service,) = [c for c in containers() if "livenessProbe" in c]
    paths = {probe: service[probe]["httpGet"]["path"] for probe in service if "Probe" in probe}
    assert paths == {
        "startupProbe": "/readyz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }


def test_every_command_is_one_of_ours(tmp_path: Path) -> None:
    line = Line(tmp_path)
    commands = [container["args"] for container in containers() if "args" in container]
    assert sorted(arguments[0] for arguments in commands) == ["init", "maintain", "serve"]
    assert line.create()
    for arguments in commands:
        options = ["--show-config"] if arguments == ["serve"] else []
        assert line(*arguments, *options).code == 0, arguments
