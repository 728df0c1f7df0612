"""All settings, in one frozen object made at the entry point and passed down."""

from functools import lru_cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class SettingsError(Exception):
    """A setting has no usable value; the message names it and says what is allowed."""


class Settings(BaseSettings):
    """Read from `REDRAFT_*` environment variables, then `redraft.toml` in the working folder."""

    model_config = SettingsConfigDict(
        env_prefix="REDRAFT_", toml_file="redraft.toml", frozen=True, extra="forbid"
    )

    home: Path = Field(
        Path("~/.redraft"), description="Folder of the database, adapters, snapshots and runs."
    )
    database_url: str = Field(
        "", description="SQLAlchemy URL of the record. Empty: SQLite in `REDRAFT_HOME`."
    )
    model: str = Field(
        "smollm2-135m", description="Base model: the built-in one, a folder or a hub id."
    )
    engine: Literal["auto", "openvino", "transformers", "vllm", "openai", "echo"] = Field(
        "auto", description="Text generator. `auto`: the fastest one installed here."
    )
    engine_url: str = Field(
        "", description="URL of a remote engine, with its `/v1`; empty: one on this machine."
    )
    engine_api_key: str = Field("", repr=False, description="Key that a remote engine asks for.")
    context_window: int = Field(
        0,
        ge=0,
        description="Tokens that the model behind engine `openai` takes; 0: what its server says, "
        "8192 where it says nothing.",
    )
    vllm_python: str = Field(
        "",
        description="Python that has vLLM, for the one that `redraft up` runs with engine `vllm`; "
        "empty: `.venv-vllm` beside Redraft's own environment, or that one.",
    )
    vllm_port: int = Field(8001, ge=1, le=65535, description="Port of that vLLM, on loopback.")
    vllm_args: str = Field(
        "",
        description="More options for that vLLM, as on its command line: `--max-model-len 8192`.",
    )
    quantization: Literal["none", "int8", "int4"] = Field(
        "none",
        description="Of the base weights in engine `transformers`: bitsandbytes' 8 or 4 bit. "
        "`openvino` has 8 bit always; the others refuse it.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="Where weights on this machine are computed, in serving and training. `auto`: "
        "on a GPU where there is one; `cuda`: there, or not at all.",
    )
    host: str = Field("127.0.0.1", description="Address that the API and the page listen on.")
    login: Literal["auto", "always"] = Field(
        "auto",
        description="`auto`: no login on loopback, where whoever asks is the one local user; "
        "`always`: also there, for a reverse proxy on the same machine.",
    )
    session_hours: float = Field(168, gt=0, description="How long a sign-in lasts, in hours.")
    login_failures: int = Field(
        5, ge=1, description="Failed sign-ins of a name from an address before a lockout."
    )
    login_lockout_minutes: float = Field(
        15, gt=0, description="How long those are counted, and no further one is taken."
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses and networks, by comma, of reverse proxies and of a page on "
        "another machine: their `X-Forwarded-For` and `-Proto` count. Those on loopback always do.",
    )
    port: int = Field(8000, ge=1, le=65535, description="Port of the API.")
    page_port: int = Field(7860, ge=1, le=65535, description="Port of the page.")
    threads: int = Field(
        64, ge=2, le=1024, description="Requests the API serves at once (threads)."
    )
    log: Literal["text", "json"] = Field(
        "text",
        description="Form of the log on standard error. `json`: one object a line, with request "
        "ids and a line for every request; never what people wrote.",
    )
    max_body_mb: float = Field(10, gt=0, description="Largest request body, in MB.")
    rate_limit_user: str = Field(
        "1200 per minute",
        description="Requests of one user, over all keys and sessions, as `N per minute; M per "
        "day`; empty: any number. The local user has no limit.",
    )
    rate_limit_key: str = Field(
        "600 per minute", description="Requests with one API key or session, in the same form."
    )
    max_streams_user: int = Field(
        32,
        ge=1,
        description="Answers of one user, streamed or whole, that are open at once, and as many in "
        "the background; one more is a 429. Half of the threads, so that nobody takes them all. "
        "The local user has no limit.",
    )
    temperature: float = Field(
        0.7, ge=0, le=2, description="Sampling temperature when a request names none."
    )
    max_tokens: int = Field(
        512, ge=1, description="Longest answer, in tokens, when a request names none."
    )
    system_prompt: str = Field(
        "", description="System message of conversations that bring none; empty: the model's own."
    )
    rewrite: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Make follow-ups standalone before they are answered. `auto`: when a rewriter "
        "adapter fits the base model; `on`: also without one, by a prompt with examples.",
    )
    rewrite_seconds: float = Field(
        5.0, gt=0, description="Longest time for a rewrite; then the user's own words are used."
    )
    rewrite_context: Literal["history", "alone"] = Field(
        "history",
        description="What answers see of a rewritten question: `history` and it, or it `alone`.",
    )
    reasoning: Literal["off", "on_demand", "always", "never"] = Field(
        "off",
        description="Answers of the form `conclusion #### reasoning`: `on_demand` stops at the "
        "delimiter and goes on when asked, `always` writes both, `never` the conclusion alone. "
        "For models that were trained on, or follow, that form.",
    )
    history_turns: int = Field(
        0, ge=0, description="Earlier turns that an answer sees; 0: all that fit the window."
    )
    history_summary: Literal["off", "on"] = Field(
        "off",
        description="`on`: turns that the window drops stay as a running summary, which the base "
        "model writes before it answers.",
    )
    summary_tokens: int = Field(
        160, ge=16, description="Longest summary, in tokens; at most a quarter of the window."
    )
    summary_seconds: float = Field(
        10.0, gt=0, description="Longest time for a summary; then the turn goes on without one."
    )
    topic_change: Literal["keep", "drop"] = Field(
        "keep",
        description="History of a question on a new topic: `keep`, or `drop` it where question and "
        "history share no word and nothing leans on it. English needs rewriting for that verdict.",
    )
    max_drafts: int = Field(8, ge=1, le=64, description="Largest `n` of a request.")
    offer_drafts: float = Field(
        0,
        ge=0,
        le=1,
        description="Share of questions that the page has answered with two drafts to pick from, "
        "without being asked to; not shown which is which.",
    )
    examples: str = Field(
        "",
        description="Example questions of an empty chat, separated by `;`; empty: three in the "
        "visitor's language.",
    )
    holdout_share: float = Field(
        0.2, ge=0, lt=1, description="Share of conversations held out for the gate, never trained."
    )
    schedule: str = Field("0 3 * * *", description="Cron line of the nightly run; empty: none.")
    min_events: int = Field(
        50, ge=1, description="New feedback events that start a run before the cron line does."
    )
    min_rows: int = Field(16, ge=1, description="Fewest training rows a run accepts.")
    min_heldout: int = Field(5, ge=2, description="Fewest held-out items the gate accepts.")
    max_rows_per_user: int = Field(
        500,
        ge=1,
        description="Most feedback rows of one user that count in a run. Of who is neither "
        "reviewer nor admin also no more than all others gave, divided by `REDRAFT_MIN_USERS` - 1.",
    )
    min_users: int = Field(
        2,
        ge=1,
        description="Fewest distinct users who must teach the same; what fewer teach waits in "
        "quarantine. The word of a reviewer or an admin, such as the local user, is enough.",
    )
    review_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of the rows that a run trains on that reviewers are shown, beside all "
        "that waits in quarantine.",
    )
    mask_pii: Literal["on", "off"] = Field(
        "on",
        description="Mask e-mail and IP addresses, phone, card, account and Chinese ID numbers in "
        "what a run reads. What `REDRAFT_MIN_USERS` users or a reviewer wrote is public.",
    )
    languages: str = Field(
        "",
        description="Languages to learn answers in, such as `en,zh`; empty: all. Short texts and "
        "code always count.",
    )
    rebuild_every: int = Field(
        5,
        ge=0,
        description="Every how many runs one trains from the base model, on all feedback, instead "
        "of going on from the champion; 0: never, 1: always.",
    )
    max_train_rows: int = Field(
        2000,
        ge=1,
        description="Most training rows that a run learns from; of more, `REDRAFT_SELECT` chooses.",
    )
    select: Literal["k_center", "nuggets", "perplexity"] = Field(
        "k_center",
        description="What is chosen: rows that cover the others (`k_center`), that help with other "
        "tasks as an example (`nuggets`, slow), or that the champion has not learned "
        "(`perplexity`).",
    )
    earlier_share: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="Share of those for feedback that the champion has learned, drawn by lot; a "
        "run that begins at the base takes all feedback for new.",
    )
    replay_general: str = Field(
        "",
        description="JSON Lines of general questions and answers that SFT sees beside feedback: "
        "`{prompt, completion}`, `{messages}`, `{instruction, input, output}` or "
        "`{question, answer}`. Without a file the model's own answers to a few questions serve.",
    )
    replay_domain: str = Field(
        "", description="The same with what an earlier training on the domain was made of."
    )
    replay_share: float = Field(
        0.5, ge=0, le=0.95, description="Share of these files in what SFT sees."
    )
    replay_general_share: float = Field(
        0.7,
        ge=0,
        le=1,
        description="Share of the general file in that, and in what a run learns of a corpus; the "
        "rest is the domain's.",
    )
    judge_url: str = Field(
        "",
        description="URL, with its `/v1`, of a server with OpenAI's API that compares what "
        "candidate and champion write to held-out prompts, for the report; it sees these texts. "
        "Empty: none.",
    )
    judge_model: str = Field("", description="The model that it is asked for.")
    judge_api_key: str = Field("", repr=False, description="Key that it asks for.")
    teacher_url: str = Field(
        "",
        description="URL, with its `/v1`, of a server with OpenAI's API whose model writes what "
        "`redraft corpus` makes of documents; it sees these texts.",
    )
    teacher_model: str = Field("", description="The model that it is asked for.")
    teacher_api_key: str = Field("", repr=False, description="Key that it asks for.")
    teacher_price_in: float = Field(
        0, ge=0, description="Price of a million tokens that it reads, in any currency."
    )
    teacher_price_out: float = Field(
        0, ge=0, description="Price of a million tokens that it writes."
    )
    teacher_free_tokens: int = Field(0, ge=0, description="Tokens that cost nothing.")
    teacher_budget: float = Field(
        5, ge=0, description="Most money for a corpus, never passed; 0: any, also where it is free."
    )
    teacher_budget_tokens: int = Field(
        0, ge=0, description="Most tokens for a corpus, read and written, never passed; 0: any."
    )
    teacher_concurrency: int = Field(
        8, ge=1, le=256, description="Requests to it under way at once."
    )
    teacher_requests_per_minute: int = Field(
        0, ge=0, description="Its rate limit in requests; 0: none."
    )
    teacher_tokens_per_minute: int = Field(
        0, ge=0, description="Its rate limit in tokens; 0: none."
    )
    teacher_seconds: float = Field(
        300, gt=0, description="Longest time for one of its answers, and longest silence in one."
    )
    retention_days: float = Field(
        0,
        ge=0,
        description="Days after which the texts of a conversation that nobody uses any more are "
        "erased, by the scheduler and `redraft db prune`; 0: never.",
    )
    suites: str = Field(
        "",
        description="Questions with known answers that each run asks, and of which a candidate may "
        "not get surely fewer right: a JSON-lines file of `{question, choices, answer}` or "
        "`{question, accept}`, a folder of such files, or `shipped`.",
    )
    train_processes: int = Field(
        0,
        ge=0,
        description="Processes that train together, by `accelerate launch`; 0: one for each GPU.",
    )
    train_launcher: str = Field(
        "",
        description="Command that starts a training on several machines, which share "
        "`REDRAFT_HOME`, such as `srun --nodes 2 accelerate launch --config_file cluster.yaml`; "
        "`--module retrain.launch JOB` comes behind it.",
    )
    seed: int = Field(7, description="Seed of training and of the gate's resampling.")
    canary_share: float = Field(
        0,
        ge=0,
        lt=1,
        description="Share of new conversations that a promoted adapter answers as canary, until "
        "enough votes have come; 0: it answers all at once.",
    )
    canary_votes: int = Field(
        100, ge=1, description="Votes on a canary that is not worse after which it is champion."
    )
    api_key: str = Field(
        "",
        repr=False,
        description="Key of an admin, with which runs and commands reach an API that asks for one.",
    )
    drain_seconds: float = Field(
        60, ge=0, description="Longest wait for running answers before an adapter is unloaded."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls))

    @property
    def api_url(self) -> str:
        """Where processes on this machine reach the API."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "localhost") else self.host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        for part in filter(None, (part.strip() for part in value.split(","))):
            ip_network(part, strict=False)
        return value

    @field_validator("rate_limit_user", "rate_limit_key")
    @classmethod
    def _are_rates(cls, value: str) -> str:
        if value:
            from limits import parse_many  # only where one is set

            parse_many(value)
        return value

    @property
    def engine_options(self) -> dict[str, Any]:
        """What an engine is told: the fields of `serve.engines.base.Options`."""
        return {
            "url": self.engine_url,
            "api_key": self.engine_api_key,
            "vllm_port": self.vllm_port,
            "context_window": self.context_window,
            "quantization": self.quantization,
            "device": self.device,
        }

    @property
    def asks_for_login(self) -> bool:
        """Whether a request needs a key or a session."""
        return self.login == "always" or not self.on_loopback

    @property
    def on_loopback(self) -> bool:
        return self.host in LOOPBACK


def load_settings(**overrides: Any) -> Settings:
    """The settings of this process. Raises SettingsError in the words of the setting."""
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from error
    home = settings.home.expanduser().absolute()
    url = settings.database_url or f"sqlite:///{home / 'redraft.db'}"
    return settings.model_copy(update={"home": home, "database_url": url})


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = ", ".join(sorted(Settings.model_fields))
            lines.append(f"redraft.toml has an unknown setting {name!r}. Known: {known}.")
        else:
            got = problem.get("input")
            lines.append(f"REDRAFT_{name.upper()} is {got!r}: {problem['msg']}.")
    return "\n".join(lines)


@lru_cache(maxsize=1)
def settings_fields() -> list[tuple[str, str, str]]:
    """(variable, default, help) of every setting, for the generated table in the README."""
    return [
        (f"REDRAFT_{name.upper()}", str(field.default), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
