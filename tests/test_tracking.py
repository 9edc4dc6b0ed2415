import socket

import pytest

from fmnist_bench.errors import InputError
from fmnist_bench.tracking import ui_command


def test_the_ui_binds_this_machine_alone(tmp_path):
    (tmp_path / "mlflow.db").touch()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command, _ = ui_command(tmp_path, port)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="cannot be used"):
            ui_command(tmp_path, taken.getsockname()[1])
    with pytest.raises(InputError, match="no such file"):
        ui_command(tmp_path / "elsewhere", port)
