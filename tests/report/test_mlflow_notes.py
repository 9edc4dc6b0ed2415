"""What MLflow's pages say of a benchmark."""

import dataclasses
import re
from urllib.parse import parse_qs

from markdown_it import MarkdownIt

from fmnist_bench.config.space import Spec
from fmnist_bench.config.study import Benchmark, SearchSpace
from fmnist_bench.report.mlflow_notes import LISTS, of_benchmark, of_result, ways


def test_a_benchmark_is_said_whole(digits, split):
    space = SearchSpace("knn", Spec("sklearn.neighbors.KNeighborsClassifier", {}))
    text = of_benchmark(Benchmark("b", budget=600.0, seed=7, spaces=(space,)), digits, split)
    for words in (
        "**b**",
        "**digits**",
        "1,200 train and 300 validation rows of 8 x 8 pixels",
        "10 classes",
        "Studies: knn.",
    ):
        assert words in text
    assert "Budget 10 minutes for everything, seed 7" in text
    assert "3 trials of each study" in of_benchmark(Benchmark("b", trials=3, spaces=(space,)), digits, split)


def test_names_are_shown_and_not_obeyed(digits, split, findings):
    evil = "<script>alert(1)</script> ![p](http:127.0.0.1:9) **b**\n# c"
    space, data = SearchSpace(evil, Spec("sklearn.naive_bayes.GaussianNB", {})), dataclasses.replace(digits, name=evil)
    text = of_benchmark(Benchmark(evil, trials=1, spaces=(space,)), data, split)
    who = dataclasses.replace(findings.choice, name=evil)
    text += of_result(dataclasses.replace(findings, contestants=(who,), ensemble=None, members=()), "there")
    page = MarkdownIt("commonmark").render(text)
    assert page.count("&lt;script&gt;") == page.count("![p](http:127.0.0.1:9) **b** # c") == 4
    assert "<img" not in page and "<script" not in page and "<h1" not in page


def test_lists_of_trials_are_links_to_the_views_of_this_experiment():
    addresses = re.findall(r"\]\((\S+)\)", ways("7"))
    assert all(address.startswith("#/experiments/7/runs?") for address in addresses)
    views = [parse_qs(address.partition("?")[2])["viewStateShareKey"] for address in addresses]
    assert views == [[view] for view, _ in LISTS.values()]


def test_the_result_is_the_model_to_use_with_its_interval(findings):
    text = of_result(findings, "#/report.html")
    score = findings.scores(findings.choice)
    assert f"**{findings.choice.name}**, {100 * score['test_accuracy']:.2f} %" in text
    assert text.endswith("[Report](#/report.html)")
    nothing = dataclasses.replace(findings, contestants=(), ensemble=None, members=())
    assert of_result(nothing, "there") == "No trial was complete: the [report](there) says why."
