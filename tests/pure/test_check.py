"""`clawbus check`: every mistake of an org.toml in one run, with line, field, value and remedy; and the templates."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from clawbus.cli.init import TEMPLATES
from clawbus.org import Org, OrgMistakes, load, load_text
from clawbus.org.fields import _model_in
from clawbus.org.notes import notes
from clawbus.org.toml_lines import Place, locate
from tests.command import clawbus, refused

ROOT = Path(__file__).parents[2]

BAD = """\
company = "acme"
modl = "scripted"
bus = { port = 18789 }
[policies]
lease = "5 minuets"
[[gateways]]
id = "hq"
port = 18789
slots = 12
[[gateways]]
id = "lab"
[[teams]]
id = "all"
[[agents]]
id = "boss"
role = "cto"
reports_to = "worker"
gateway = "hq"
[[agents]]
id = "worker"
team = "boss"
reports_to = "boss"
gateway = "lba"
subscriptions = [
  "status.deploy",
  "weather.today",  # a comment, with a ] in it
  { topic = "decisions.*", wkae = true },
]
[[agents]]
id = "worker"
reports_to = "bos"
gateway = "hq"
[[pools]]
id = "many"
members = ["boss", "ghost"]
[[edges]]
from = "boss"
to = "nobody"
template = '''
do {result}
and [{workr}]
'''
[[recurring]]
id = "standup"
cron = "0 9 * * *"
every = "1d"
meeting = "exec"
[[recurring]]
id = "nothing"
every = "1d"
[[oversight]]
agent = "boss"
from = "boss"
level = "tolld"
[alerts]
to = ["boss"]
[[humans]]
id = "owner"
channel = { gateway = "nowhere", channel = "telegram", to = "1" }
"""
EXPECTED = [
    "line 2: modl = 'scripted': unknown field. Did you mean 'model'?",
    "line 5: policies.lease = '5 minuets': not a duration.",
    "line 8: gateways[hq].port = 18789: the bus has that port already.",
    "line 9: gateways[hq].slots = 12: an OpenClaw gateway runs eight turns",
    "line 10: gateways[lab].port: missing.",
    "line 13: teams[all].id = 'all': is reserved",
    "line 16: agents[boss].role = 'cto': not a role. Write a slug that begins with role-, such as role-cto.",
    "line 17: agents[boss].reports_to = 'worker': reports_to goes in a circle: boss -> worker -> boss.",
    "line 21: agents[worker].team = 'boss': its team is 'boss', which is the id of an agent.",
    "line 23: agents[worker].gateway = 'lba': no such gateway. Did you mean 'lab'?",
    "line 26: agents[worker].subscriptions[2] = 'weather.today': not a topic.",
    "line 27: agents[worker].subscriptions[3].wkae = True: unknown field. Did you mean 'wake'?",
    "line 30: agents[worker].id = 'worker': two of one id",
    "line 31: agents[worker].reports_to = 'bos': nobody has that id. Did you mean 'boss'?",
    "line 35: pools[many].members[2] = 'ghost': no such agent.",
    "line 38: edges[1].to = 'nobody': there is nobody of that id.",
    "line 39: edges[1].template = ",
    "line 43: recurring[standup]: has both every and cron.",
    "line 45: recurring[standup].cron = '0 9 * * *': a cron has six fields",
    "line 48: recurring[nothing]: has neither task and to nor meeting.",
    "line 52: oversight[1].agent = 'boss': a rule for an agent and for an edge at once.",
    "line 54: oversight[1].level = 'tolld': unknown. Did you mean 'told'?",
    "line 56: alerts.to[1] = 'boss': is an agent: alerts go to people.",
    "line 59: humans[owner].channel.gateway = 'nowhere': no such gateway.",
]
COMPANY = """\
company = "acme"
[[gateways]]
id = "hq"
port = 18789
[[agents]]
id = "ceo"
team = "top"
gateway = "hq"
[[agents]]
id = "cto"
team = "top"
reports_to = "ceo"
gateway = "hq"
"""
PROGRAM = "[[gateways]]\nid = 'py'\nkind = 'program'\n"


def mistakes(folder: Path, text: str) -> list[str]:
    file = folder / "org.toml"
    file.write_text(text)
    try:
        load(file)
    except OrgMistakes as wrong:
        return wrong.problems
    return []


def test_k1_all_mistakes_are_found_in_one_run_with_line_and_field(tmp_path: Path) -> None:
    """Mistakes within fields and between entries, of twenty-four kinds, by one `clawbus check`, in the file's order."""
    (tmp_path / "org.toml").write_text(BAD)
    run = clawbus("check", folder=tmp_path)
    refused(run, 2, f"{len(EXPECTED)} mistakes", "no placeholder: {workr}. Did you mean 'worker'?")
    said = [line.removeprefix("  - ") for line in run.stderr.splitlines()[1:]]
    assert [(line, want) for line, want in zip(said, EXPECTED, strict=True) if not line.startswith(want)] == []


def test_check_prints_mistakes_as_json(tmp_path: Path) -> None:
    (tmp_path / "org.toml").write_text(COMPANY.replace('"ceo"\ngateway = "hq"\n', '"coe"\ngateway = "hq"\n'))
    run = clawbus("check", "--json", folder=tmp_path)
    assert run.returncode == 2
    assert json.loads(run.stdout)["mistakes"] == [
        {"line": 12, "field": "agents[cto].reports_to", "value": "'coe'", "problem": "nobody has that id",
         "remedy": "Did you mean 'ceo'?"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('[[teams]]\nid = "cto"', "line 15: teams[cto].id = 'cto': two of one id: there is an agent"),
        ('[[humans]]\nid = "ceo"', "humans[ceo].id = 'ceo': two of one id"),
        ('[[pools]]\nid = "top"\nmembers = ["ceo"]', "agents[ceo].team = 'top': its team is 'top', which is"),
        ('[[pools]]\nid = "p"\nmembers = ["ceo", "ceo"]', "pools[p].members[2] = 'ceo': is in this pool twice"),
        ('[[humans]]\nid = "me"\nreports_to = "ceo"', "is an agent, and a person reports to a person"),
        ('[[humans]]\nid = "a"\nreports_to = "b"\n[[humans]]\nid = "b"\nreports_to = "a"', "circle: a -> b -> a"),
        ('[[edges]]\nfrom = "ceo"\nto = "ceo"', "leads back to where it begins"),
        ('[[edges]]\nfrom = "ceo"\nto = "cto"\nthen = "top"', "there is no edge from cto to there"),
        ('[[edges]]\nfrom = "ceo"\nto = "cto"\n[[edges]]\nfrom = "ceo"\nto = "cto"', "a second edge from ceo to cto"),
        ('[[recurring]]\nid = "r"\ntask = "x"\nto = "cto"', "says neither every nor cron"),
        ('[[recurring]]\nid = "r"\nevery = "1h"\ntask = "x"', "recurring[r].to: missing"),
        ('[[recurring]]\nid = "r"\nevery = "1h"\nto = "cto"', "recurring[r].task: missing"),
        ('[[recurring]]\nid = "r"\nevery = "1h"\nto = "cto"\ntask = "x"\nmeeting = "all"', "a meeting and a task"),
        ('[[recurring]]\nid = "r"\nevery = "5m"\nlasts = "10m"\nmeeting = "all"', "before this one has ended"),
        ('[[recurring]]\nid = "r"\nevery_s = 60\nevery = "1h"\ntask = "x"\nto = "cto"', "every_s"),
        ('[[oversight]]\nlevel = "told"\nfrom = "ceo"', "says for whom neither by agent nor by from and to"),
        ('[[oversight]]\nlevel = "told"\nagent = "cto"\nhuman = "ownr"', "no such person. Did you mean 'owner'?"),
        ("[learning]\npromote_over = 40", "learning.promote_over = 40: an insight would be promoted"),
        ('[[gateways]]\nid = "hq"\nport = 20000', "gateways[hq].id = 'hq': two of one id: there is a gateway"),
        ('[[gateways]]\nid = "b"\nport = 18789', "gateways[b].port = 18789: gateway hq has that port already"),
        ('[[agents]]\nid = "owner"\ngateway = "hq"', "is the id of the person who is there when [[humans]] names none"),
        ('[[agents]]\nid = "x"\ngateway = "hq"\nmodel = "scriptd"', "agents[x].model = 'scriptd': not a model. Did you mean"),
        (f"{PROGRAM}[[humans]]\nid = 'me'\nchannel = {{gateway = 'py', channel = 'c', to = '1'}}", "has no chat channels"),
    ],
)  # fmt: skip
def test_a_contradiction_between_entries_is_named(tmp_path: Path, more: str, words: str) -> None:
    """One mistake each, in a company that is right without it."""
    assert mistakes(tmp_path, COMPANY) == []
    (said,) = mistakes(tmp_path, COMPANY + more + "\n")
    assert words in said


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("port = 18789", 'port = "18789"', "gateways[hq].port = '18789': not a whole number. Write it without quotes"),
        ("port = 18789", "port = 18789.0", "not a whole number"),
        ("port = 18789", "port = 80", "gateways[hq].port = 80: less than 1024. Write 1024 or more."),
        ("port = 18789", 'port = 18789\nown = "no"', "gateways[hq].own = 'no': neither true nor false"),
        ("port = 18789", "port = 18789\nown = 1", "gateways[hq].own = 1: neither true nor false"),
        ("[[gateways]]", "[policies]\nescalate = '2d'\n[[gateways]]", "escalate = '2d': more than 1d. Write 1d or less."),
        ("[[gateways]]", "[policies]\nlease = 90.5\n[[gateways]]", "policies.lease = 90.5: not a duration. Write it as"),
        ("[[gateways]]", "policies = 5\n[[gateways]]", "policies = 5: not a table. Write [policies]."),
        ("[[gateways]]", "[[policies]]\nquota = 5\n[[gateways]]", "not a table. Write [policies]."),
        ("[[gateways]]", "[pools]\nid = 'p'\n[[gateways]]", "pools: not a list. Write [[pools]]."),
        ("[[gateways]]", "pools = ['p']\n[[gateways]]", "pools[1] = 'p': not a table. Write [[pools]]."),
        ('gateway = "hq"', 'gateway = "hq"\nskills = "go"', "skills = 'go': not a list. Put it in brackets"),
        ('gateway = "hq"', 'gateway = "hq"\nname = 5', "name = 5: not a text. Put it in quotes."),
        ('gateway = "hq"', 'gateway = "hq"\ndelegates = ["a b"]', "'a b': not the name of a tool. Write such as"),
        ('id = "ceo"', 'id = "steward"', "agents[steward].id = 'steward': is reserved. Take another"),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_refused_with_what_to_write(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    """A number in quotes is a text: taken for a number, it would pass by the checks that look for equal ports."""
    said = mistakes(tmp_path, COMPANY.replace(old, new, 1))
    assert [line for line in said if words in line], said


def test_no_mistake_comes_without_a_remedy(tmp_path: Path) -> None:
    """Whatever stands where something else is wanted."""
    odd = (
        "5",
        "-1",
        "true",
        "''",
        "'x y'",
        "[]",
        "[1]",
        "{ a = 1 }",
        "[{ a = 1 }]",
        "1.5",
        "nan",
        "2020-01-01",
        "'9x'",
    )
    bare = []
    for value in odd:
        for name, field in Org.model_fields.items():
            part = _model_in(field.annotation)
            rows = [f"{one.alias or key} = {value}" for key, one in part.model_fields.items()] if part else []
            head = f"[{name}]" if field.annotation is part else f"[[{name}]]"
            for text in (f"{name} = {value}", "\n".join([head, *rows])):
                (tmp_path / "org.toml").write_text(text)
                with pytest.raises(OrgMistakes) as wrong:
                    load(tmp_path / "org.toml")
                bare += [str(one) for one in wrong.value.mistakes if not one.remedy]
    assert bare == []


def test_an_entry_that_cannot_be_read_does_not_hide_or_make_others(tmp_path: Path) -> None:
    """An agent with a bad role is still somebody to report to, and its own superior is still checked."""
    text = COMPANY.replace('id = "ceo"\n', 'id = "ceo"\nrole = "boss"\nslots = 3\nreports_to = "god"\n')
    assert [line.split(":")[0] for line in mistakes(tmp_path, text)] == ["line 7", "line 8", "line 9"]


@pytest.mark.parametrize(
    "text", ["", "agents = 3", 'company = "a"\nagents = ["x"]\n[gateways]\nid = 1', "a = [[[[1]]]]"]
)
def test_a_file_of_another_shape_is_refused_without_a_traceback(tmp_path: Path, text: str) -> None:
    """Tables where lists are wanted, numbers where names are."""
    assert len(mistakes(tmp_path, text)) >= 2


def test_text_that_is_no_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    assert mistakes(tmp_path, 'company = "acme"\n\n[[agents]\n')[0].startswith("line 3: the file, column 9: not TOML:")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (COMPANY.encode("utf-16"), "the file: not UTF-8, but UTF-16. Save it as UTF-8."),
        (b'company = "a"\n# se\xf1or\n', "line 2: the file: not UTF-8, but byte 0xf1. Save it as UTF-8."),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "the file: nested too deeply to be read"),
        (b"a = " + b"9" * 5000, "the file: holds a number that is too long to be read"),
    ],
    ids=["utf-16", "latin-1", "deep", "long"],
)
def test_bytes_that_cannot_be_read_are_a_mistake_with_a_remedy(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "org.toml").write_bytes(data)
    refused(clawbus("check", folder=tmp_path), 2, words)


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    refused(clawbus("check", "--org", ".", folder=tmp_path), 2, "cannot be read: Is a directory", "--org org.toml")


def test_a_file_as_windows_writes_it_is_read(tmp_path: Path) -> None:
    """A mark before the first letter, and line ends of two characters."""
    (tmp_path / "org.toml").write_bytes(b"\xef\xbb\xbf" + COMPANY.replace("\n", "\r\n").encode())
    assert load(tmp_path / "org.toml").company == "acme"
    assert load_text("\ufeff" + COMPANY, tmp_path / "org.toml").company == "acme"  # as another machine may send it


def test_what_is_only_worth_a_word_is_said_and_passes(tmp_path: Path) -> None:
    """A pool of two roles; gateways whose ports are too close."""
    more = '[[pools]]\nid = "p"\nmembers = ["ceo", "cto"]\n[[gateways]]\nid = "b"\nport = 18799\n'
    text = COMPANY.replace('"cto"\n', '"cto"\nrole = "role-pm"\n', 1) + more
    (tmp_path / "org.toml").write_text('roles = ["role-pm"]\n' + text)
    run = clawbus("check", folder=tmp_path)
    assert run.returncode == 0
    for words in (
        "mixes roles",
        "less than 120 apart",
        "b has no agent",
        "role-pm is a role of your own",
    ):
        assert words in run.stdout


@pytest.mark.parametrize(
    ("role", "said"),
    [
        ("role-cot", "no such role. Did you mean 'role-cto'? There are: role-backend, "),
        ("role-reseacher", "no such role. Did you mean 'role-researcher'? There are: role-backend, "),
        ("role-writers", "no such role. Did you mean 'role-writer'? There are: "),
        ("role-x", "no such role. There are: role-backend, role-ceo, role-cto, "),
        ("CTO", "not a role. Write a slug that begins with role-, such as role-cto."),
        ("role-CTO", "not a role. Write a slug that begins with role-, such as role-cto."),
        ("Role Security", "not a role. Write a slug that begins with role-, such as role-security."),
        ("researcher ", "not a role. Write a slug that begins with role-, such as role-researcher."),
    ],
)
@pytest.mark.parametrize("command", ["check", "plan", "up"])
def test_a_role_that_there_is_not_is_refused_before_anything_is_done(
    tmp_path: Path, role: str, said: str, command: str
) -> None:
    """It would have the neutral soul, and every tool that the role which was meant must not have."""
    (tmp_path / "org.toml").write_text(COMPANY.replace('"cto"\n', f'"cto"\nrole = "{role}"\n', 1))
    refused(clawbus(command, folder=tmp_path), 2, f"agents[cto].role = {role!r}: {said}")
    assert not (tmp_path / ".clawbus" / "keys").exists()


def test_a_role_of_ones_own_stands_in_roles(tmp_path: Path) -> None:
    """Its agents have the neutral soul, and what all roles share of a policy; so has role-default, without more words."""
    for role in ("role-cot", "role-default"):
        text = COMPANY.replace('"cto"\n', f'"cto"\nrole = "{role}"\n', 1)
        (tmp_path / "org.toml").write_text('roles = ["role-cot"]\n' + text)
        assert load(tmp_path / "org.toml").agent("cto").role == role
    (tmp_path / "org.toml").write_text('roles = ["role-cot", "role-cto"]\n' + text)
    refused(clawbus("check", folder=tmp_path), 2, "roles[2] = 'role-cto': is a role of clawbus already")
    (tmp_path / "org.toml").write_text('roles = ["cot"]\n' + text)
    refused(clawbus("check", folder=tmp_path), 2, "roles[1] = 'cot': not a role. Write a slug")


@pytest.mark.parametrize("template", TEMPLATES)
def test_c5_every_template_is_a_company_without_a_mistake(tmp_path: Path, template: str) -> None:
    """What `clawbus init` writes passes `clawbus check`, which says who is there and which model answers."""
    assert clawbus("init", template, folder=tmp_path).returncode == 0
    run = clawbus("check", folder=tmp_path)
    assert run.returncode == 0
    assert "scripted" in run.stdout
    assert notes(load(tmp_path / "org.toml")) == []


def test_every_example_of_the_repository_is_a_template() -> None:
    assert {path.parent.name for path in (ROOT / "examples").glob("*/org.toml")} == set(TEMPLATES)


NASTY = r'''
a = 1 # [x] = "
"b.c" = "]"
'd "e"'.f = 'it''
g.h."i\"\u00e9" = """one "two" \" three
"""
"j" = {k = 1, l.m = [1, {n = "}"}], "o=p" = 1979-05-27 07:32:00}
q = [
  # nothing ]
  'x', [ [1.5, true], ],
  """
]""", { r = '#' },
]
[s . t]
u = "\\"
[[v]]
w = 1
[[v]]
[v.x]
y = "z"
[[v.aa]]
bb = ''' + "'''a''b''''\n[[v.aa]]\ncc = 1\n[v.x.dd]\nee = \"\"\"\"f\"\"\"\"\n"  # fmt: skip
NASTY = NASTY.replace("'it''", "'it'")


def places(value: Any, place: Place = ()) -> set[Place]:
    """Every place within a value."""
    found: set[Place] = {place} if place else set()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, one in items:
        found |= places(one, (*place, step))
    return found


@pytest.mark.parametrize(
    "text", [NASTY, BAD, *((ROOT / "examples" / name / "org.toml").read_text() for name in TEMPLATES)]
)
def test_every_value_of_a_toml_text_has_its_line(text: str) -> None:
    """Dotted and quoted keys, tables of tables, inline tables, arrays and texts over several lines."""
    lines = locate(text)
    assert set(lines) == places(tomllib.loads(text))
    written = text.split("\n")
    for place, line in lines.items():
        name = next(step for step in reversed(place) if isinstance(step, str))
        if isinstance(place[-1], str):
            assert (
                name in written[line - 1]
                or name.encode("unicode_escape").decode() in written[line - 1]
                or "\\u00e9" in written[line - 1]
            )


def test_what_makes_a_soul_too_long_is_a_mistake(tmp_path: Path) -> None:
    """OpenClaw would cut the file; `plan` and `up` would refuse it later."""
    long = COMPANY.replace('id = "cto"', f'id = "cto"\nspecialization = "{"x" * 25_000}"')
    assert long != COMPANY
    (tmp_path / "org.toml").write_text(long)
    run = clawbus("check", folder=tmp_path)
    assert run.returncode == 2
    assert "agents[cto]: its " in run.stderr
    assert "OpenClaw reads 20000" in run.stderr
