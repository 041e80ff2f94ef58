"""What every settings section shares: frozen, and an unknown key is an error. `config` reads them from TOML."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of a settings section. Each stage defines its own beside its code; `config.WatchConfig` joins them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
