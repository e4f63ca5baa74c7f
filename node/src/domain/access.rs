//! Who may do what: owners, scopes and API keys.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// Whose a link is. Owner 0 is everybody without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerId(pub i64);

impl OwnerId {
    /// The owner of links that were made without a key.
    pub const ANONYMOUS: Self = Self(0);
    /// The owner of the bootstrap key.
    pub const ADMIN: Self = Self(1);
}

/// One thing an API key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// See the owner's links.
    LinksRead,
    /// Create, change and delete the owner's links.
    LinksWrite,
    /// Draw ids.
    Ids,
    /// Everything, over every owner; keys, namespaces and the cluster too.
    Admin,
}

impl Scope {
    const ALL: [Self; 4] = [Self::LinksRead, Self::LinksWrite, Self::Ids, Self::Admin];

    /// The scope as it is written in requests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LinksRead => "links:read",
            Self::LinksWrite => "links:write",
            Self::Ids => "ids",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::LinksRead => 1,
            Self::LinksWrite => 2,
            Self::Ids => 4,
            Self::Admin => 8,
        }
    }
}

/// A text that names no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use one of links:read, links:write, ids, admin")]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(UnknownScope)
    }
}

/// A set of scopes, stored as bits: `links:read` 1, `links:write` 2, `ids` 4, `admin` 8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// The set of one scope.
    pub const fn only(scope: Scope) -> Self {
        Self(scope.bit())
    }

    /// Whether the set allows `scope`; `admin` allows everything.
    pub const fn allow(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::Admin.bit()) != 0
    }

    /// Whether nothing is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The stored bits.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set with these stored bits; unknown bits mean nothing.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 15)
    }

    /// The scopes in the set.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.0 & scope.bit() != 0)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

/// The SHA-256 of an API key. The key itself is never stored: it has 128 random bits, so a plain hash can't be reversed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ApiKeyHash(pub [u8; 32]);

impl ApiKeyHash {
    /// The hash of `key`, any text.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }
}

/// A new API key: `stint_` and 32 hex digits of 128 random bits. Shown once.
pub struct ApiKey(String);

impl ApiKey {
    /// The key with these random bits.
    pub fn from_random(bits: [u8; 16]) -> Self {
        Self(format!("stint_{:032x}", u128::from_be_bytes(bits)))
    }

    /// The key as its holder sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(***)")
    }
}

/// Who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose links it makes and sees.
    pub owner: OwnerId,
    /// What it may do.
    pub scopes: Scopes,
}

impl Caller {
    /// The holder of the bootstrap key.
    pub const BOOTSTRAP: Self = Self { owner: OwnerId::ADMIN, scopes: Scopes::only(Scope::Admin) };

    /// Whether the caller may act on a link of `owner`: its own, or any with `admin`.
    pub fn may_touch(self, owner: OwnerId) -> bool {
        self.scopes.allow(Scope::Admin) || (self.owner == owner && owner != OwnerId::ANONYMOUS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_survive_their_bits_and_texts() {
        let scopes: Scopes = [Scope::LinksRead, Scope::Ids].into_iter().collect();
        assert_eq!(Scopes::from_bits(scopes.bits()), scopes);
        assert!(scopes.iter().all(|scope| scope.as_str().parse() == Ok(scope)));
        assert!(scopes.allow(Scope::Ids) && !scopes.allow(Scope::LinksWrite));
        assert_eq!("root".parse::<Scope>(), Err(UnknownScope));
    }

    #[test]
    fn admin_allows_everything() {
        let admin = Scopes::only(Scope::Admin);
        assert!(Scope::ALL.into_iter().all(|scope| admin.allow(scope)));
        assert!(Caller::BOOTSTRAP.may_touch(OwnerId(77)));
    }

    #[test]
    fn a_key_never_shows_in_debug_output() {
        let key = ApiKey::from_random([7; 16]);
        assert_eq!(key.expose().len(), 38);
        assert!(!format!("{key:?}").contains(key.expose()));
    }

    #[test]
    fn nobody_but_admin_may_touch_anonymous_links() {
        let caller = Caller { owner: OwnerId::ANONYMOUS, scopes: Scopes::only(Scope::LinksWrite) };
        assert!(!caller.may_touch(OwnerId::ANONYMOUS));
    }
}
