//! Creating links: validate → reuse? → draw a key → batch → insert → write through the cache → answer.

use std::sync::Arc;

use stint_idgen::{AliasPlace, Key, KeyCodec};

use super::batch::{BatchError, Batcher};
use super::own_host::OwnHost;
use super::tiers::Tiers;
use crate::domain::access::OwnerId;
use crate::domain::alias::{Alias, is_reserved};
use crate::domain::label::{Tags, Title};
use crate::domain::link::{Link, LinkContent};
use crate::domain::target_url::TargetUrl;
use crate::domain::timestamp::UnixMs;
use crate::ports::change_feed::FeedPosition;
use crate::ports::clock::Clock;
use crate::ports::entropy::Entropy;
use crate::ports::id_source::{IdError, KeySource};
use crate::ports::link_store::{CreateOutcome, Idempotency, LinkStore, NewLink, Replay, StoreError};

/// Keys drawn for one link before giving up. Chance never takes two in a row, but an import that kept the codes of
/// another deployment does; each draw goes on where the last one stopped, for all requests together.
const DRAWS: usize = 100_000;

/// A link that somebody wants.
#[derive(Clone, Debug)]
pub struct CreateRequest {
    /// Who wants it.
    pub owner: OwnerId,
    /// Where it should lead.
    pub url: TargetUrl,
    /// How it should be called.
    pub alias: Option<Alias>,
    /// When it should end.
    pub expires_at: Option<UnixMs>,
    /// How often it may be followed.
    pub max_visits: Option<i64>,
    /// Its title.
    pub title: Option<Title>,
    /// Its tags.
    pub tags: Tags,
    /// Whether an existing link will do: yes for plain requests, unless said otherwise.
    pub reuse: Option<bool>,
    /// What makes a repeat recognisable.
    pub idempotency: Option<Idempotency>,
}

impl CreateRequest {
    /// Whether the request asks for nothing but a target.
    fn is_plain(&self) -> bool {
        self.alias.is_none()
            && self.expires_at.is_none()
            && self.max_visits.is_none()
            && self.title.is_none()
            && self.tags.is_empty()
    }
}

/// A link that answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedLink {
    /// The link.
    pub link: Arc<Link>,
    /// Whether it is new (or was, when the request was first made).
    pub created: bool,
}

/// Why no link was created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The alias names another link.
    #[error("the alias `{0}` is taken")]
    AliasTaken(Alias),
    /// The target is Stint itself.
    #[error("the URL leads to Stint's own host `{0}`")]
    LeadsBack(String),
    /// The expiry has passed already.
    #[error("the expiry {0} has passed")]
    ExpiryPassed(UnixMs),
    /// Reuse was asked for, together with something that an existing link doesn't have.
    #[error("only a plain link can be reused")]
    ReuseNotPlain,
    /// The idempotency key came with another request before.
    #[error("the idempotency key was used for another request")]
    IdempotencyMismatch,
    /// No key could be drawn.
    #[error("no key could be drawn for the link")]
    Ids(#[from] IdError),
    /// The link could not be stored.
    #[error("the link could not be stored")]
    Store(#[source] BatchError),
}

impl From<StoreError> for CreateError {
    fn from(error: StoreError) -> Self {
        Self::Store(BatchError::Store(error))
    }
}

/// Creates links.
#[derive(Debug)]
pub struct CreateLinks {
    keys: Arc<dyn KeySource>,
    store: Arc<dyn LinkStore>,
    writes: Batcher<NewLink, CreateOutcome>,
    tiers: Tiers,
    codec: Arc<KeyCodec>,
    own: Arc<OwnHost>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl CreateLinks {
    #[expect(clippy::too_many_arguments, reason = "the parts of a use case, which their types tell apart")]
    /// Creates links with keys from `keys`, stored through `writes`.
    pub fn new(
        keys: Arc<dyn KeySource>,
        store: Arc<dyn LinkStore>,
        writes: Batcher<NewLink, CreateOutcome>,
        tiers: Tiers,
        codec: Arc<KeyCodec>,
        own: Arc<OwnHost>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { keys, store, writes, tiers, codec, own, clock, entropy }
    }

    /// Creates the link, or answers with the one that is as good. It is durable when this returns.
    ///
    /// # Errors
    /// [`CreateError`]; nothing was created.
    pub async fn create(&self, request: CreateRequest) -> Result<CreatedLink, CreateError> {
        if let Some(outcome) = self.find_replay(&request).await? {
            return outcome;
        }
        let now = UnixMs::from_clock(self.clock.unix_ms());
        let reuse = self.check(&request, now)?;
        // A request with an idempotency key goes to the store, which remembers it together with its outcome.
        if reuse
            && request.idempotency.is_none()
            && let Some(link) = self.find_reusable(&request).await?
        {
            return Ok(CreatedLink { link, created: false });
        }
        self.insert(request, reuse, now).await
    }

    /// What a request that was made before came to: it is answered so whatever has become true meanwhile.
    /// Whether the owner sent this `Idempotency-Key` before; no while the store gives no answer.
    pub async fn has_seen(&self, owner: OwnerId, key: String) -> bool {
        // With another request's hash the link isn't read.
        let request = Idempotency { key, request_hash: [0; 32] };
        self.store.find_replay(owner, &request).await.is_ok_and(|replay| replay.is_some())
    }

    async fn find_replay(
        &self,
        request: &CreateRequest,
    ) -> Result<Option<Result<CreatedLink, CreateError>>, StoreError> {
        let Some(idempotency) = &request.idempotency else { return Ok(None) };
        let outcome = self.store.find_replay(request.owner, idempotency).await?;
        Ok(outcome.map(|outcome| match outcome {
            Replay::Same { link, created } => Ok(CreatedLink { link: Arc::new(link), created }),
            Replay::Mismatch => Err(CreateError::IdempotencyMismatch),
        }))
    }

    /// Whether an existing link will do, if the request makes sense.
    fn check(&self, request: &CreateRequest, now: UnixMs) -> Result<bool, CreateError> {
        if let Some(host) = self.own.led_to_by(&request.url) {
            return Err(CreateError::LeadsBack(host));
        }
        if let Some(expiry) = request.expires_at.filter(|expiry| *expiry <= now) {
            return Err(CreateError::ExpiryPassed(expiry));
        }
        match (request.reuse, request.is_plain()) {
            (Some(true), false) => Err(CreateError::ReuseNotPlain),
            (reuse, plain) => Ok(plain && reuse.unwrap_or(true)),
        }
    }

    /// The owner's link of the same target: from the memories if that link is there too and still leads there.
    async fn find_reusable(&self, request: &CreateRequest) -> Result<Option<Arc<Link>>, StoreError> {
        let hash = request.url.hash();
        if let Some(link) = self.tiers.target(request.owner, hash).await
            && leads_plainly_to(&link, &request.url)
        {
            return Ok(Some(link));
        }
        let as_of = self.tiers.position();
        let found = self.store.find_reusable(request.owner, hash, &request.url).await?.map(Arc::new);
        if let Some(link) = &found {
            self.remember(link, true, as_of);
        }
        Ok(found)
    }

    async fn insert(&self, request: CreateRequest, reuse: bool, now: UnixMs) -> Result<CreatedLink, CreateError> {
        let place = request.alias.as_ref().map(|alias| self.codec.place_alias(alias.as_str()));
        let named_key = match place {
            Some(AliasPlace::Key(key)) => Some(key),
            Some(AliasPlace::Table) | None => None,
        };
        let mut new = NewLink {
            key: match named_key {
                Some(key) => key,
                None => self.draw().await?,
            },
            alias: request.alias.clone().filter(|_| named_key.is_none()),
            nonce: request.alias.as_ref().map(|_| self.nonce()),
            owner: request.owner,
            url: request.url,
            created_at: now,
            expires_at: request.expires_at,
            max_visits: request.max_visits,
            title: request.title,
            tags: request.tags,
            reuse,
            idempotency: request.idempotency,
        };
        let as_of = self.tiers.position();
        for _ in 0..DRAWS {
            let outcome = self.writes.submit(new.clone()).await.map_err(CreateError::Store)?;
            match (outcome, &request.alias) {
                (CreateOutcome::Created(link), alias) => {
                    if alias.is_some() {
                        // Other nodes may remember that nothing had this name.
                        self.tiers.announce();
                    }
                    return Ok(self.answer(link, true, reuse, as_of));
                }
                (CreateOutcome::Reused(link), _) => return Ok(self.answer(link, false, reuse, as_of)),
                // It may have been edited since, so nothing is said about reuse.
                (CreateOutcome::Replayed { link, created }, _) => return Ok(self.answer(link, created, false, as_of)),
                (CreateOutcome::IdempotencyMismatch, _) => return Err(CreateError::IdempotencyMismatch),
                (CreateOutcome::AliasTaken, Some(alias)) => return Err(CreateError::AliasTaken(alias.clone())),
                (CreateOutcome::KeyTaken, Some(alias)) if named_key.is_some() => {
                    return Err(CreateError::AliasTaken(alias.clone()));
                }
                // A custom alias has the drawn key's code: that key is skipped for ever.
                (CreateOutcome::KeyTaken | CreateOutcome::AliasTaken, _) => new.key = self.draw().await?,
            }
        }
        Err(StoreError::Corrupt { what: "keys that are all taken: the id source repeats keys" }.into())
    }

    fn nonce(&self) -> i32 {
        let mut bytes = [0; 4];
        self.entropy.fill(&mut bytes);
        i32::from_be_bytes(bytes)
    }

    /// The next key whose code isn't one of Stint's own words.
    async fn draw(&self) -> Result<Key, IdError> {
        loop {
            let key = self.keys.next_key().await?;
            if !is_reserved(self.codec.code(key).as_str()) {
                return Ok(key);
            }
        }
    }

    fn answer(&self, link: Link, created: bool, reuse: bool, as_of: FeedPosition) -> CreatedLink {
        let link = Arc::new(link);
        self.remember(&link, reuse, as_of);
        CreatedLink { link, created }
    }

    fn remember(&self, link: &Arc<Link>, plain: bool, as_of: FeedPosition) {
        self.tiers.remember(link, as_of);
        if let Some(alias) = &link.alias {
            self.tiers.remember_alias(alias, link.key, as_of);
        }
        if let Some(content) = link.content.as_ref().filter(|_| plain) {
            self.tiers.remember_target(link, content.url.hash(), as_of);
        }
    }
}

fn leads_plainly_to(link: &Link, url: &TargetUrl) -> bool {
    link.content.as_ref().is_some_and(|content: &LinkContent| content.is_plain() && content.url == *url)
}
