//! Section `auth`: who may do what.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Value;

use super::error::Invalid;
use super::secret::Secret;
use super::text;

/// Section `auth`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuthConfig {
    /// Whether links may be created without a key; see [`super::Config::anonymous_create`].
    pub anonymous_create: AnonymousCreate,
    /// The bootstrap API key, with every scope.
    #[serde(with = "text::optional")]
    pub admin_key: Option<Secret>,
}

/// Whether links may be created without an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnonymousCreate {
    /// Only in `dev`, listening on loopback.
    Auto,
    /// By anyone.
    Always,
    /// With a key only.
    Never,
}

impl AuthConfig {
    pub(super) fn validate(&self, invalid: &mut Vec<Invalid>) {
        let sendable = |key: &Secret| key.expose().bytes().all(|byte| byte.is_ascii_graphic());
        if !self.admin_key.as_ref().is_none_or(sendable) {
            invalid
                .push(Invalid::new("auth.admin_key", "must be visible ASCII without spaces: it is sent in a header"));
        }
    }
}

impl<'de> Deserialize<'de> for AnonymousCreate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Boolean(true) => Ok(Self::Always),
            Value::Boolean(false) => Ok(Self::Never),
            Value::String(text) if text == "auto" => Ok(Self::Auto),
            Value::String(text) if text == "true" => Ok(Self::Always),
            Value::String(text) if text == "false" => Ok(Self::Never),
            other => Err(D::Error::custom(format_args!("{other} is not one of \"auto\", true and false"))),
        }
    }
}

impl Serialize for AnonymousCreate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Always => serializer.serialize_bool(true),
            Self::Never => serializer.serialize_bool(false),
        }
    }
}
