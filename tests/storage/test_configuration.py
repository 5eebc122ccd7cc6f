"""Configuration files: invalid ones are refused before connecting, and messages contain no part of a password."""

from __future__ import annotations

import socket
import traceback
from pathlib import Path
from urllib.parse import quote_plus, unquote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pymongo.uri_parser import parse_uri

from alchemflows.errors import AlchemflowsError, DatabaseError, InvalidInputError
from alchemflows.settings import Settings
from alchemflows.storage import database
from alchemflows.storage.configuration import check_configuration, check_uri, load_file, without_passwords
from alchemflows.storage.users import create_users

#: Letters that no message of the package has four of in a row, so that a part of a password can be told.
LETTERS = "QXZJVWHKG"
#: Characters that a driver takes for something else.
SPECIAL = "@/:%?#[] é☃\t"
HARMLESS = "+&=,;!$*'()~_-"
PASSWORDS = st.text(LETTERS + SPECIAL + HARMLESS, min_size=6, max_size=24)
SPECIAL_PASSWORDS = st.builds(
    lambda *parts: "".join(parts),
    st.text(LETTERS, min_size=4, max_size=8),
    st.sampled_from([*SPECIAL, "@Winter2026/"]),
    st.text(LETTERS + SPECIAL + HARMLESS, max_size=8),
    st.text(LETTERS, min_size=4, max_size=8),
)
FORMS = (
    "mongodb://user:{}@127.0.0.1:9/db",
    "mongodb://user:{}@127.0.0.1:9",
    "mongodb://user:{}@127.0.0.1:9,localhost:9/db?replicaSet=rs&authSource=admin",
    "mongodb://user:{}@[::1]:9/?tls=false",
    "mongodb://{}@127.0.0.1:9/db",
)
SRV_FORMS = ("mongodb+srv://user:{}@cluster.example/db?retryWrites=true", "mongodb+srv://user:{}@cluster.example")
HOSTS = {("127.0.0.1", 9), ("localhost", 9), ("::1", 9)}


def leaked(password: str, text: str) -> list[str]:
    """Return the parts of four characters of a password that are in a text, as they are or percent-encoded."""
    forms = {password, quote_plus(password), unquote_plus(password)}
    parts = {form[k : k + 4] for form in forms for k in range(len(form) - 3)}
    return [part for part in parts if part in text and not part.isspace()]


@given(password=PASSWORDS, form=st.sampled_from(FORMS + SRV_FORMS + ("mongodb://user:{}", "mongodb://user:{}/db")))
def test_accepted_uris_are_read_in_the_same_way_by_the_driver(password, form):
    uri = form.format(password)
    try:
        check_uri(uri)
    except DatabaseError as error:
        assert "percent-encode" in str(error) and not leaked(password, str(error)) and "\n" not in str(error)
        return
    assert "{}@" in form
    if form in FORMS:
        parsed = parse_uri(uri)
        assert set(parsed["nodelist"]) <= HOSTS
        if form.startswith("mongodb://user"):
            assert parsed["password"] == unquote_plus(password)


@given(password=PASSWORDS, form=st.sampled_from(FORMS + SRV_FORMS))
def test_an_encoded_password_is_accepted(password, form):
    uri = form.format(quote_plus(password))
    check_uri(uri)
    if form.startswith("mongodb://user"):
        assert parse_uri(uri)["password"] == password


@given(
    password=SPECIAL_PASSWORDS,
    form=st.sampled_from(FORMS + SRV_FORMS),
    place=st.sampled_from(["jobflow", "launchpad", "admin"]),
)
def test_no_part_of_a_password_is_shown_and_no_connection_is_made(tmp_path_factory, password, form, place):
    if form.startswith("mongodb://{}"):
        assume(":" not in password)  # it would end the user's name, and what follows be a password
    uri = form.format(password)
    folder = tmp_path_factory.getbasetemp() / "passwords"
    folder.mkdir(exist_ok=True)
    quoted = "'" + uri.replace("'", "''") + "'"
    good = "mongodb://127.0.0.1:9/db"
    jobflow, launchpad = folder / "jobflow.yaml", folder / "my_launchpad.yaml"
    store = f"database: db, uri: {quoted if place == 'jobflow' else good}"
    jobflow.write_text(
        f"JOB_STORE: {{docs_store: {{type: MongoStore, collection_name: outputs, {store}}}, "
        f"additional_stores: {{data: {{type: GridFSStore, collection_name: samples, {store}}}}}}}",
        encoding="utf-8",
    )
    launchpad.write_text(f"host: {quoted}\nname: db\nuri_mode: true\n", encoding="utf-8")

    def no_network(*arguments: object, **_: object) -> None:
        raise AssertionError(f"looked up {arguments}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", no_network)
        patch.setenv("JOBFLOW_CONFIG_FILE", str(jobflow))
        with pytest.raises(DatabaseError) as caught:
            if place == "admin":
                create_users(uri, "db", folder / "users")
            elif place == "launchpad":
                check_configuration(launchpad)
            else:
                database.connect(Settings(home=folder))
    seen = "".join(traceback.format_exception(caught.value)).replace(quoted, "")
    assert not leaked(password, str(caught.value)), caught.value
    assert not leaked(password, seen), seen
    assert "percent-encode" in str(caught.value) or "YAML" in str(caught.value)


@given(password=PASSWORDS, form=st.sampled_from(FORMS + SRV_FORMS + ("mongodb://user:{}",)))
def test_connection_strings_are_removed_from_foreign_messages(password, form):
    line = f"pymongo.errors.ConfigurationError: {form.format(password)} is not to be had"
    shown = without_passwords(f"first line\n{line}\nlast line")
    assert not leaked(password, shown), shown
    assert shown.startswith("first line\npymongo.errors.ConfigurationError: ") and shown.endswith("\nlast line")


@pytest.mark.parametrize(
    "uri", ["mongodb://%2Ftmp%2Fa%20folder%2Fmongod.sock/db", "mongodb://h1,h2:27018,[fe80::1]/", "mongodb://a:@h"]
)
def test_uris_without_a_password_are_accepted(uri):
    check_uri(uri)


@pytest.mark.parametrize(
    "uri", ["", "localhost", "http://host", "mongodb://", "mongodb:///db", "mongodb://h:port", "mongodb://h,"]
)
def test_invalid_uris_are_refused(uri):
    with pytest.raises(DatabaseError):
        check_uri(uri)


@pytest.mark.parametrize("name", ["jobflow.yaml", "my_launchpad.yaml", "FW_config.yaml"])
def test_a_key_twice_in_a_configuration_is_named_with_its_line(tmp_path, name):
    path = tmp_path / name
    path.write_text("host: a\nname: b\nhost: c\n")
    with pytest.raises(DatabaseError, match=rf"{name}, line 3: .*host"):
        check_configuration(path)
    with pytest.raises(InvalidInputError, match=rf"{name}, line 3: .*host"):
        load_file(path, lambda text: text)


# FireWorks configured, jobflow not, and the other way round


@pytest.fixture
def nothing_configured(monkeypatch, tmp_path):
    for name in ("JOBFLOW_CONFIG_FILE", "FW_CONFIG_FILE", "JOBFLOW_JOB_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(database, "DEFAULT_CONFIG_FILE_PATH", str(tmp_path / "none.yaml"))
    monkeypatch.setattr(database, "LAUNCHPAD_LOC", None)

    def started(_: Settings) -> None:
        raise AlchemflowsError("the private database was started")

    monkeypatch.setattr(database, "start_private", started)
    return monkeypatch


def test_nothing_configured_means_the_private_database(nothing_configured, tmp_path):
    with pytest.raises(AlchemflowsError, match="private database"):
        database.connect(Settings(home=tmp_path))


def test_its_own_files_mean_the_private_database(nothing_configured, tmp_path):
    private = tmp_path / "config"
    private.mkdir()
    (private / "jobflow.yaml").touch()
    nothing_configured.setattr(database, "LAUNCHPAD_LOC", str(private / "my_launchpad.yaml"))
    nothing_configured.setenv("FW_CONFIG_FILE", str(private / "FW_config.yaml"))
    for jobflow in (None, private / "jobflow.yaml"):
        if jobflow is not None:
            nothing_configured.setenv("JOBFLOW_CONFIG_FILE", str(jobflow))
        with pytest.raises(AlchemflowsError, match="private database"):
            database.connect(Settings(home=tmp_path))


@pytest.mark.parametrize("found", ["my_launchpad.yaml", "home/.fireworks/my_launchpad.yaml", "/etc/launchpad.yaml"])
def test_a_launchpad_without_jobflow_is_refused(nothing_configured, tmp_path, found):
    nothing_configured.setattr(database, "LAUNCHPAD_LOC", found)
    with pytest.raises(DatabaseError, match=rf"{Path(found).name}.*JOBFLOW_CONFIG_FILE"):
        database.connect(Settings(home=tmp_path))


def test_a_store_in_the_environment_is_refused(nothing_configured, tmp_path):
    nothing_configured.setenv("JOBFLOW_JOB_STORE", "store.yaml")
    with pytest.raises(DatabaseError, match="JOBFLOW_JOB_STORE"):
        database.connect(Settings(home=tmp_path))


def test_jobflow_without_fireworks_is_refused(nothing_configured):
    with pytest.raises(DatabaseError, match="FW_CONFIG_FILE"):
        database.launchpad_of(database.Database(None, None, "", {}))


def test_results_in_one_database_and_jobs_in_another_are_refused(database_of_its_own, tmp_path, monkeypatch):
    """jobflow is configured for a server of the user, FireWorks for the private database."""
    home, environment = database_of_its_own
    own = tmp_path / "own.yaml"
    own.write_text(Path(environment["JOBFLOW_CONFIG_FILE"]).read_text())
    launchpad = Path(environment["FW_CONFIG_FILE"]).with_name("my_launchpad.yaml")
    monkeypatch.setenv("JOBFLOW_CONFIG_FILE", str(own))
    monkeypatch.delenv("FW_CONFIG_FILE", raising=False)
    monkeypatch.setattr(database, "LAUNCHPAD_LOC", str(launchpad))
    with pytest.raises(DatabaseError, match=r"own\.yaml.*my_launchpad\.yaml"):
        database.connect(Settings(home=home))
    copy = tmp_path / "other_launchpad.yaml"
    copy.write_text(launchpad.read_text())
    monkeypatch.setattr(database, "LAUNCHPAD_LOC", str(copy))
    assert not database.connect(Settings(home=home)).is_private


@pytest.fixture
def database_of_its_own(shared_database):
    return Path(shared_database.environment["ALCHEMFLOWS_HOME"]), shared_database.environment


def test_errors_of_the_driver_are_not_chained():
    with pytest.raises(DatabaseError) as caught:
        create_users("mongodb://user:QXZJ@127.0.0.1:99999/", "db", Path("users"))
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
