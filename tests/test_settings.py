from pathlib import Path

import pytest

from adapter.errors import ConfigError
from adapter.settings import Permission, Settings, load_settings
from adapter.sources import push


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(text: str) -> Settings:
    Path("adapter.toml").write_text(text)
    return load_settings()


def tokens(settings: Settings) -> list[str]:
    """Those of the first source."""
    source = settings.sources[0]
    assert isinstance(source, push.Settings)
    return [token.get_secret_value() for token in source.token]


def complaint(text: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        written(text)
    return str(caught.value)


def test_without_any_configuration_there_are_settings_that_work() -> None:
    settings = load_settings()
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8282)
    assert settings.data.folder == Path("adapter-data")
    assert settings.sources == ()


def test_the_file_in_the_current_folder_is_read() -> None:
    settings = written('[server]\nport = 9000\n[[sources]]\nname = "one"\nprovider = "keycloak"\ntoken = "12345678"\n')
    assert settings.server.port == 9000
    assert tokens(settings) == ["12345678"]


def test_the_environment_beats_the_file_and_flags_beat_both(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("adapter.toml").write_text('[server]\nport = 9000\nhost = "127.0.0.2"\n[data]\nfolder = "file"\n')
    monkeypatch.setenv("IDP_ADAPTER_SERVER__PORT", "9001")
    monkeypatch.setenv("IDP_ADAPTER_DATA__FOLDER", "environment")
    settings = load_settings(flags={"data": {"folder": "flag"}})
    assert (settings.server.host, settings.server.port) == ("127.0.0.2", 9001)
    assert settings.data.folder == Path("flag")


def test_the_administrators_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_ADAPTER_AUTH__ADMIN_TOKEN", "environment-token")
    token = load_settings().auth.admin_token
    assert token is not None
    assert token.get_secret_value() == "environment-token"


def test_lists_are_json_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "IDP_ADAPTER_SOURCES", '[{"name": "a", "provider": "keycloak", "token": ["first-token", "second-token"]}]'
    )
    monkeypatch.setenv("IDP_ADAPTER_OUTGOING__ALLOW", '["10.0.0.0/8"]')
    settings = load_settings()
    assert tokens(settings) == ["first-token", "second-token"]
    assert [str(network) for network in settings.outgoing.allow] == ["10.0.0.0/8"]


def test_a_secret_is_read_from_its_file_without_the_line_break(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("secret").write_text("from-a-file\n")
    monkeypatch.setenv("IDP_ADAPTER_AUTH__ADMIN_TOKEN_FILE", "secret")
    token = load_settings().auth.admin_token
    assert token is not None
    assert token.get_secret_value() == "from-a-file"


def test_a_file_may_hold_several_tokens_of_a_source() -> None:
    Path("secret").write_text("first-token\nsecond-token\n")
    settings = written('[[sources]]\nname = "a"\nprovider = "keycloak"\ntoken_file = "secret"\n')
    assert tokens(settings) == ["first-token", "second-token"]


def test_secrets_do_not_show_in_the_settings_text() -> None:
    settings = written('[auth]\nadmin_token = "very-secret-token"\n[[keys]]\nname = "k"\ntoken = "other-secret"\n')
    assert "secret-token" not in repr(settings)
    assert "other-secret" not in repr(settings)


def test_a_source_keeps_its_key_when_it_is_renamed() -> None:
    first = written('[[sources]]\nname = "old"\nprovider = "keycloak"\n').sources[0]
    renamed = written('[[sources]]\nname = "new"\nkey = "old"\nprovider = "keycloak"\n').sources[0]
    assert first.key == renamed.key == "old"


def test_a_key_reads_and_does_no_more_unless_it_says_so() -> None:
    settings = written(
        '[[keys]]\nname = "plain"\ntoken = "12345678"\n'
        '[[keys]]\nname = "more"\ntoken = "23456789"\npermissions = ["read", "raw"]\n'
    )
    assert settings.keys[0].permissions == {Permission.READ}
    assert settings.keys[1].permissions == {Permission.READ, Permission.RAW}


def test_a_wrong_value_is_named_with_its_file_and_what_is_allowed() -> None:
    assert complaint('[log]\nlevel = "loud"\n') == (
        "adapter.toml: log.level: Input should be 'debug', 'info', 'warning' or 'error'"
    )


def test_what_should_be_a_list_is_told_so() -> None:
    assert complaint('[mappings]\npath = "mappings"\n') == "adapter.toml: mappings.path: should be a list: [...]"


def test_a_wrong_value_in_the_environment_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_ADAPTER_SERVER__PORT", "99999")
    assert complaint() == "environment: IDP_ADAPTER_SERVER__PORT: Input should be less than or equal to 65535"


def test_an_unknown_key_is_named_with_the_known_ones() -> None:
    text = complaint('[[sources]]\nname = "a"\nprovider = "keycloak"\ntocken = "x"\n')
    assert text == (
        "adapter.toml: sources[1].tocken: there is no such key; there are name, kind, provider, key, unwrap, silence, "
        "token, token_file, public_keys, issuer, audience, sns_topics, pull"
    )


def test_an_unknown_section_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_ADAPTER_SERVR__PORT", "9001")
    assert complaint().startswith("environment: IDP_ADAPTER_SERVR__PORT: there is no such section; there are ")


@pytest.mark.parametrize("name", ["CONFIG", "URL", "TOKEN", "TOKEN_FILE", "CA", "LOGIN", "MIGRATE_FROM", "MIGRATE_TO"])
def test_a_variable_of_commands_that_is_exported_keeps_nothing_from_starting(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "adapter.toml").write_text("")
    monkeypatch.setenv(f"IDP_ADAPTER_{name}", str(tmp_path / "adapter.toml"))
    assert load_settings().sources == ()


def test_several_wrong_settings_are_reported_at_once() -> None:
    text = complaint('[server]\nport = -1\n[log]\nlevel = "loud"\n')
    assert [line.split(": ")[1] for line in text.splitlines()] == ["server.port", "log.level"]


def test_a_broken_file_is_named_with_the_line() -> None:
    text = complaint("[server\n")
    assert text.startswith("adapter.toml: ")
    assert "line 1" in text


def test_broken_json_in_the_environment_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_ADAPTER_SOURCES", "keycloak")
    text = complaint()
    assert "sources" in text
    assert "JSON" in text


def test_a_named_file_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"elsewhere\.toml: there is no such file"):
        load_settings(Path("elsewhere.toml"))


def test_a_secret_given_twice_is_an_error() -> None:
    Path("secret").write_text("from-a-file\n")
    assert complaint('[auth]\nadmin_token = "12345678"\nadmin_token_file = "secret"\n') == (
        "adapter.toml: auth: both admin_token and admin_token_file are given; one of them is enough"
    )


def test_a_file_of_a_secret_that_cannot_be_read_is_named() -> None:
    assert complaint('[auth]\nadmin_token_file = "nowhere"\n') == (
        "adapter.toml: auth: admin_token_file: nowhere cannot be read: No such file or directory"
    )


def test_an_error_never_shows_the_secret() -> None:
    text = complaint('[auth]\nadmin_token = "a secret with blanks"\n')
    assert "a secret with blanks" not in text
    assert "auth.admin_token: a token has 8 or more printable ASCII characters and no blanks" in text


def test_a_source_may_have_a_short_secret_that_was_chosen_elsewhere() -> None:
    text = '[[sources]]\nname = "kc"\nprovider = "keycloak"\ntoken = "{}"\n'
    assert tokens(written(text.format("s3cr3t"))) == ["s3cr3t"]
    assert "a token has 1 or more printable ASCII characters" in complaint(text.format(""))


def test_listening_abroad_needs_the_explicit_switch() -> None:
    assert "put TLS in front and set behind_tls = true" in complaint('[server]\nhost = "0.0.0.0"\n')
    assert written('[server]\nhost = "0.0.0.0"\nbehind_tls = true\n').server.host == "0.0.0.0"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_listening_on_this_machine_alone_needs_no_switch(host: str) -> None:
    assert written(f'[server]\nhost = "{host}"\n').server.host == host


def test_two_sources_of_one_name_are_refused() -> None:
    one = '[[sources]]\nname = "a"\nprovider = "keycloak"\n'
    assert "sources: two of them have the name 'a'; each needs its own" in complaint(one + one)


def test_a_sink_is_read_by_the_model_of_its_kind() -> None:
    sink = written('[[sinks]]\nname = "soc"\nkind = "webhook"\nurl = "https://soc.example/hook"\n').sinks[0]
    assert sink.kind == "webhook"
    assert sink.name == "soc"


def test_a_wrong_setting_of_a_sink_is_named_by_its_place() -> None:
    assert complaint('[[sinks]]\nname = "soc"\nkind = "file"\npath = "x"\ncolour = "red"\n') == (
        "adapter.toml: sinks[1].colour: there is no such key; there are name, kind, filter, revisions, from, names, "
        "privacy, retry, order_by, when_dead, rate, catch_up, disable_after, attempts, path, format"
    )
    assert complaint('[[sources]]\nname = "a"\nprovider = "keycloak"\nkind = "pigeon"\n') == (
        "adapter.toml: sources[1]: no kind of source is called 'pigeon'; there are: push"
    )
    assert complaint('[[sinks]]\nname = "soc"\nkind = "pigeon"\n') == (
        "adapter.toml: sinks[1]: no kind of sink is called 'pigeon'; there are: file, webhook"
    )


def test_the_address_of_the_log_is_checked_and_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "adapter.toml"
    file.write_text('[store]\nurl = "mysql://root:hunter2@db/x"\n')
    with pytest.raises(ConfigError, match=r"store\.url: .* begins with sqlite:/// or postgresql://") as refused:
        load_settings(file)
    assert "hunter2" not in str(refused.value)
    file.write_text('[store]\nurl = "postgresql://root:hunter2@db/x"\n')
    assert "hunter2" not in repr(load_settings(file))
