"""Fitting and measuring a head offline, with hashed words in place of a model."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from experts.errors import ConfigError
from router.artifacts import load_head
from router.config import EncoderConfig
from router.encoder import Encoder
from router.taxonomy import default_taxonomy
from router.training import evaluate_head, train_head
from router.training.evaluate import Judged, expected_calibration_error, merged, routed_rightly
from router.training.own import for_labels, own_prompts
from router.training.prepare import mmlu_pro_prompts, public_prompts
from router.training.prompts import Prompt, of_split, out_of_scope, read_prompts, with_options
from router.training.simulate import simulate
from tests.fakes.encoder import embed

ROWS = [
    {"text": text, "domain": domain, "role": role}
    for domain in ("math", "law", "biology")
    for place, text in enumerate(default_taxonomy().entries[domain].examples)
    for role in (["train", "dev"] if place % 2 else ["train"])
]
STRAYS = [{"text": text, "domain": "oos", "role": "oos_dev"} for text in ("blub flop grmbl", "zzz xxx yyyyy")]


@pytest.fixture
def encoder() -> Encoder:
    return Encoder(EncoderConfig(model="fake"), load=lambda config: embed)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ROWS + STRAYS), encoding="utf-8")
    return path


def test_a_head_is_trained_kept_and_measured(table: Path, tmp_path: Path, encoder: Encoder) -> None:
    manifest = train_head([table], tmp_path / "head", encoder=encoder, own=False, command="train it")

    head, loaded = load_head(tmp_path / "head", encoder="fake")
    figures = evaluate_head([table], tmp_path / "head", split="dev", encoder=encoder)
    assert loaded == manifest
    assert head.domains == ("biology", "law", "math")
    assert loaded.command == "train it"
    assert loaded.data["by_domain"] == {"biology": 14, "law": 14, "math": 16}
    assert figures["accuracy"] > 0.95
    assert figures["out_of_scope_auroc"] > 0.9
    assert figures["ece"] == pytest.approx(manifest.figures["dev"]["ece"], abs=1e-5)
    assert ["biology", "law", "math"] == figures["confusion"]["labels"]
    assert figures["n"] == sum(sum(row) for row in figures["confusion"]["counts"])
    named = {"n", "accuracy", "macro_f1", "ece", "out_of_scope_auroc", "routed_rightly", "by_source", "confusion"}
    assert named == set(figures)


def test_a_split_that_is_absent_is_an_error_that_names_the_others(
    table: Path, tmp_path: Path, encoder: Encoder
) -> None:
    train_head([table], tmp_path / "head", encoder=encoder, own=False)

    with pytest.raises(ConfigError, match=r"No prompt is of the split 'test'; there are: dev, train\."):
        evaluate_head([table], tmp_path / "head", split="test", encoder=encoder)


def test_out_of_scope_prompts_are_never_fitted_on(table: Path, tmp_path: Path, encoder: Encoder) -> None:
    assert "oos" not in train_head([table], tmp_path / "head", encoder=encoder, own=False).domains


def test_domains_with_too_few_prompts_are_named(tmp_path: Path, encoder: Encoder) -> None:
    few = [*ROWS, *({"text": f"verse number {n}", "domain": "poetry", "role": "train"} for n in range(3))]
    path = tmp_path / "few.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in few), encoding="utf-8")

    assert train_head([path], tmp_path / "head", encoder=encoder, own=False).data["too_few"] == ["poetry"]


def test_one_domain_cannot_be_told_apart(tmp_path: Path, encoder: Encoder) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"text": "a", "domain": "law", "split": "train"}), encoding="utf-8")

    with pytest.raises(ConfigError, match="two domains at least"):
        train_head([path], tmp_path / "head", encoder=encoder, own=False)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_every_kind_of_table_reads_the_same(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"
    rows = [{"q": "What is a tort?", "label": "law", "split": "train", "source": "us"}]
    if suffix == ".jsonl":
        path.write_text(json.dumps(rows[0]) + "\n", encoding="utf-8")
    elif suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        pyarrow = pytest.importorskip("pyarrow")
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)

    assert read_prompts([path], text_column="q", label_column="label") == [
        Prompt("What is a tort?", "law", "train", "us")
    ]


def test_a_table_without_the_columns_says_what_it_has(table: Path) -> None:
    with pytest.raises(ConfigError, match=r"lacks the columns 'question' and 'domain' \(it has domain, role, text\)"):
        read_prompts([table], text_column="question")


@pytest.mark.parametrize(("name", "message"), [("absent.csv", "There is no file"), ("x.txt", "is none of")])
def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "x.txt").touch()

    with pytest.raises(ConfigError, match=message):
        read_prompts([tmp_path / name])


def test_a_table_without_splits_sets_a_fifth_aside(tmp_path: Path) -> None:
    path = tmp_path / "plain.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"text {n}", "domain": "d"}) for n in range(500)), encoding="utf-8")

    prompts = read_prompts([path])

    assert 60 < len(of_split(prompts, "dev")) < 140
    assert read_prompts([path]) == prompts


def test_options_follow_the_question() -> None:
    assert with_options("Which?", ["this", "that"]) == "Which?\nA. this\nB. that"


def test_strays_go_with_their_split() -> None:
    strays = [Prompt("a", "oos", "oos_dev"), Prompt("b", "oos", "oos_test")]

    assert out_of_scope(strays, "ood_dev") == strays[:1]
    assert out_of_scope(strays, "test_id") == strays[1:]
    assert out_of_scope(strays, "elsewhere") == strays


def test_groups_add_up_the_probabilities_of_their_domains() -> None:
    domains, probabilities = ("physics", "engineering", "math", "law"), np.array([[0.3, 0.2, 0.3, 0.2]])

    names, together = merged(domains, probabilities, ["math", "science"])

    assert list(names) == ["math", "science"]
    assert together[0] == pytest.approx([0.375, 0.625])


def test_a_prompt_is_routed_rightly_to_its_expert_or_by_falling_back_from_a_wrong_one() -> None:
    prompts = [Prompt("", domain, "dev") for domain in ("a", "a", "b", "b")]
    names, sure, unsure = np.array(["a", "b"]), [0.9, 0.1], [0.2, 0.1]
    known = Judged(prompts, names, np.array([sure, unsure, sure, unsure]), np.ones(4))
    strange = Judged(prompts[:2], names, np.array([sure, sure]), np.array([0.0, 1.0]))
    right = np.array([True, True, False, False])

    assert routed_rightly(known, right, None) == 2 / 4
    assert routed_rightly(known, right, strange) == 3 / 6


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    confidence = np.array([0.9, 0.9, 0.9, 0.9])

    assert expected_calibration_error(confidence, np.array([True, True, True, False])) == pytest.approx(0.15)


def test_our_own_prompts_are_for_fitting_and_cover_every_domain() -> None:
    prompts = list(own_prompts())

    assert {prompt.domain for prompt in prompts} == {*default_taxonomy().domains, "oos"}
    assert {prompt.split for prompt in prompts} == {"train"}
    assert not any("{" in prompt.text and prompt.source == "consilium: word problems" for prompt in prompts)
    assert prompts == list(own_prompts())


def test_our_own_prompts_take_the_labels_of_a_coarser_table() -> None:
    own = [Prompt("Why?", "physics", "train"), Prompt("How?", "engineering", "train"), Prompt("Eh?", "oos", "train")]

    assert [each.domain for each in for_labels(own, ["science", "math", "law"])] == ["science", "science", "oos"]
    assert for_labels(own, ["billing", "returns", "science"]) == []


def test_our_own_prompts_join_the_training_where_the_labels_are_ours(
    table: Path, tmp_path: Path, encoder: Encoder
) -> None:
    alone = train_head([table], tmp_path / "alone", encoder=encoder, own=False)
    joined = train_head([table], tmp_path / "joined", encoder=encoder)

    assert alone.domains == joined.domains == ("biology", "law", "math")
    assert joined.data["n"] > alone.data["n"] + 300
    assert "consilium" in joined.data["by_source"]


def test_mmlu_pro_rows_get_the_domain_of_their_category_or_their_source() -> None:
    row = {"question": "Q?", "options": ["a", "b"], "src": "ori_mmlu-sociology", "split": "train"}
    rows = [
        {**row, "category": "law"},
        {**row, "category": "law"},
        {**row, "category": "other"},
        {**row, "category": "other", "src": "ori_mmlu-professional_accounting", "split": "dev"},
        {**row, "category": "law", "split": "holdout"},
    ]

    assert [(each.text, each.domain, each.split) for each in mmlu_pro_prompts(iter(rows))] == [
        ("Q?", "law", "train"),
        ("Q?\nA. a\nB. b", "law", "train"),
        ("Q?", "law", "train"),
        ("Q?\nA. a\nB. b", "business", "dev"),
    ]


def test_a_coarse_label_is_used_only_where_it_means_one_domain() -> None:
    rows = [
        {"source": "mbpp", "domain": "coding", "role": "train", "text": "Write a function."},
        {"source": "mmlu", "domain": "science", "role": "train", "text": "What is an ion?"},
        {"source": "self_instruct_user", "domain": "general", "role": "train", "text": "Write a poem."},
        {"source": "gsm8k", "domain": "math", "role": "ood_dev", "text": "How many?"},
        {"source": "clinc150_oos", "domain": "oos", "role": "oos_dev", "text": "eh"},
    ]

    assert [(each.domain, each.split) for each in public_prompts(iter(rows))] == [
        ("code", "train"),
        ("writing", "train"),
        ("math", "ood_dev"),
        ("oos", "oos_dev"),
    ]


def test_remembering_helps_within_a_topic_and_costs_at_its_change() -> None:
    turns = {"a": np.array([[0.6, 0.4]] * 3 + [[0.3, 0.7]]), "b": np.array([[0.4, 0.6]] * 3 + [[0.7, 0.3]])}

    keeping = simulate(turns, ("a", "b"), forgetting=0.1, conversations=200)
    forgetting = simulate(turns, ("a", "b"), forgetting=1.0, conversations=200)

    assert keeping[3] > forgetting[3]
    assert keeping[4] < forgetting[4]
