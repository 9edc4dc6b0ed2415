"""The live table in the cell of a notebook."""

import nbformat
import pytest
from nbclient import NotebookClient

from fmnist_bench.progress.notebook_table import NotebookTable, in_notebook

EVENTS = """
import time
from fmnist_bench.progress.displays import make_progress
show = make_progress()
show.message("before [it] begins")
show.run_started("smoke [v1]", 600.0, ["cnn", "svm"])
show.trial_started("cnn", 0)
time.sleep(2.5)
show.trial_ended("cnn", 0, "complete", 0.93, 12.0)
show.trial_started("svm", 0)
show.trial_ended("svm", 0, "crashed", None, 2.5, "by <signal> 9")
show.run_ended()
show.run_ended()
print("done")
"""


def test_the_table_and_what_was_said_are_one_piece_of_html():
    show = NotebookTable()
    show._studies = {}
    show.trial_ended("svm", 0, "crashed", None, 2.5, "by <signal> 9")
    html = show._html()
    assert html.startswith("<pre") and html.count("<pre") == 1
    assert "svm trial 0: crashed: by &lt;signal&gt; 9" in html
    assert not in_notebook()


@pytest.mark.slow
def test_a_cell_has_one_table_that_updates_in_place():
    cell = nbformat.v4.new_code_cell(EVENTS)
    client = NotebookClient(nbformat.v4.new_notebook(cells=[cell]), timeout=120)
    drawn, process = [], client.process_message

    def note(msg, cell, index):
        if msg["msg_type"] == "update_display_data":
            drawn.append(msg["content"]["data"]["text/html"])
        return process(msg, cell, index)

    client.process_message = note
    client.execute()
    table, printed = cell.outputs
    assert printed.text == "done\n"
    assert len(drawn) >= 2 and "#0 0:0" in drawn[0] and "used of" not in drawn[0]
    assert table.data["text/html"] == drawn[-1]
    assert "93.00" in drawn[-1] and "before [it] begins" in drawn[-1] and "by &lt;signal&gt; 9" in drawn[-1]
