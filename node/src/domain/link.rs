//! A link, from the moment it is created to the tombstone that keeps its key for ever.

use stint_idgen::Key;

use super::access::OwnerId;
use super::alias::Alias;
use super::label::{Tags, Title};
use super::target_url::TargetUrl;
use super::timestamp::UnixMs;

/// A stored link. Every change raises `version`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The primary key; its code follows from it.
    pub key: Key,
    /// The alias, where one names the link that isn't a key itself.
    pub alias: Option<Alias>,
    /// Whose it is.
    pub owner: OwnerId,
    /// 1 when created, and one more with each change.
    pub version: i64,
    /// When it was created.
    pub created_at: UnixMs,
    /// What it holds; `None` once deleted (the tombstone).
    pub content: Option<LinkContent>,
}

/// What a live link holds. Deleting erases all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkContent {
    /// Where it leads.
    pub url: TargetUrl,
    /// When it stops leading there.
    pub expires_at: Option<UnixMs>,
    /// How often it may be followed, and how often it was.
    pub limit: Option<VisitLimit>,
    /// What people call it.
    pub title: Option<Title>,
    /// What people file it under.
    pub tags: Tags,
}

/// A limit on visits. Visits are counted only while there is a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VisitLimit {
    /// The most visits, from 1.
    pub max: i64,
    /// Visits so far.
    pub visits: i64,
}

/// What following a link meets at a given moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// It leads there.
    Live(&'a TargetUrl),
    /// It leads there as long as a visit is left: each one must be counted first.
    Limited(&'a TargetUrl),
    /// Its expiry has passed.
    Expired,
    /// It was deleted.
    Deleted,
}

impl Link {
    /// What following the link meets at `now`.
    pub fn standing(&self, now: UnixMs) -> Standing<'_> {
        match &self.content {
            None => Standing::Deleted,
            Some(content) if content.expires_at.is_some_and(|expiry| expiry <= now) => Standing::Expired,
            Some(content) if content.limit.is_some() => Standing::Limited(&content.url),
            Some(content) => Standing::Live(&content.url),
        }
    }

    /// Whether this version may still be reused for the target of the version `before` it: both are live, and neither
    /// URL, expiry nor limit was edited.
    pub fn keeps_target_of(&self, before: &Self) -> bool {
        match (&self.content, &before.content) {
            (Some(now), Some(then)) => {
                now.url == then.url
                    && now.expires_at == then.expires_at
                    && now.limit.map(|limit| limit.max) == then.limit.map(|limit| limit.max)
            }
            _ => false,
        }
    }
}

impl LinkContent {
    /// Whether the link is nothing but its target, so that the same owner's same URL may be answered with it.
    pub const fn is_plain(&self) -> bool {
        self.expires_at.is_none() && self.limit.is_none()
    }
}
