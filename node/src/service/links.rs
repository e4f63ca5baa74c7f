//! Seeing, listing, changing and deleting links.

use std::sync::Arc;

use stint_idgen::{Key, KeyCodec};

use super::batch::{BatchError, Batcher};
use super::create::CreateError;
use super::own_host::OwnHost;
use super::resolve::ResolveLinks;
use super::tiers::Tiers;
use crate::domain::access::{Caller, OwnerId};
use crate::domain::label::Title;
use crate::domain::link::Link;
use crate::domain::timestamp::UnixMs;
use crate::ports::clock::Clock;
use crate::ports::link_store::{LinkChange, LinkStore, ListPosition, ListQuery, StoreError};

/// Links read at a time while searching.
const SEARCH_PAGE: usize = 500;
/// Links read by one search request at most: it answers with what it found and a cursor to go on from.
const SEARCH_DEPTH: usize = 10_000;

/// Why a link can't be shown or changed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No link has the name.
    #[error("no link has this name")]
    Missing,
    /// The link was deleted.
    #[error("the link was deleted")]
    Deleted,
    /// The link belongs to somebody else.
    #[error("the link belongs to another owner")]
    Foreign,
    /// The change makes no sense.
    #[error("the change can't be made")]
    Refused(#[source] CreateError),
    /// The store gave no answer.
    #[error("the link store failed")]
    Store(#[from] StoreError),
    /// The change could not be made.
    #[error("the change could not be made")]
    Edit(#[from] BatchError),
}

/// What is to become of a link.
#[derive(Clone, Debug)]
pub enum Edit {
    /// It is changed.
    Change(LinkChange),
    /// It is deleted.
    Delete,
}

/// What became of it: the link's newest version, or `None` when there was no live link (any more).
pub type Edited = Result<Option<Arc<Link>>, StoreError>;

/// Makes edits, one after the other, and notes each in the memories. It runs in a worker of its own, so that a caller
/// who goes away can't come between a commit and its note.
///
/// # Errors
/// Never as a whole: each edit has its own outcome.
pub async fn make_edits(
    store: &dyn LinkStore,
    tiers: &Tiers,
    edits: Vec<(Key, Edit)>,
) -> Result<Vec<Edited>, StoreError> {
    let as_of = tiers.position();
    let mut outcomes = Vec::with_capacity(edits.len());
    let mut noted = Vec::new();
    for (key, edit) in edits {
        let edited = match edit {
            Edit::Change(change) => store.update(key, change).await,
            Edit::Delete => store.delete(key).await,
        };
        // After a failure nobody knows whether it was made: the cache must show what is there.
        let newest = match &edited {
            Ok(link) => link.clone(),
            Err(_) => store.find(key).await.unwrap_or_default(),
        };
        let newest = newest.map(Arc::new);
        if let Some(link) = &newest {
            tiers.local().note_change(link);
            noted.push(Arc::clone(link));
        }
        outcomes.push(edited.map(|_| newest));
    }
    tiers.note_changes(&noted, as_of).await;
    Ok(outcomes)
}

/// What to list.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// Whose links; everybody's if `None`.
    pub owner: Option<OwnerId>,
    /// Only links whose URL, title or name holds this text, whatever its case.
    pub search: Option<String>,
    /// Only links with this tag.
    pub tag: Option<String>,
    /// Go on after this link.
    pub after: Option<ListPosition>,
    /// At most so many.
    pub limit: usize,
}

/// A page of links, newest first, and where the next one begins.
#[derive(Clone, Debug)]
pub struct ListPage {
    /// The links.
    pub links: Vec<Link>,
    /// Where to go on; `None` at the end.
    pub next: Option<ListPosition>,
}

/// Manages existing links.
#[derive(Debug)]
pub struct ManageLinks {
    store: Arc<dyn LinkStore>,
    edits: Batcher<(Key, Edit), Edited>,
    resolve: Arc<ResolveLinks>,
    codec: Arc<KeyCodec>,
    own: Arc<OwnHost>,
    clock: Arc<dyn Clock>,
}

impl ManageLinks {
    /// Manages the links of `store`; edits go through `edits`, whose worker is [`make_edits`].
    pub fn new(
        store: Arc<dyn LinkStore>,
        edits: Batcher<(Key, Edit), Edited>,
        resolve: Arc<ResolveLinks>,
        codec: Arc<KeyCodec>,
        own: Arc<OwnHost>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, edits, resolve, codec, own, clock }
    }

    /// The link that `name` stands for, read from the store.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn get(&self, name: &str, caller: Caller) -> Result<Link, LinkError> {
        let key = self.resolve.key(name).await?.ok_or(LinkError::Missing)?;
        let link = self.store.find(key).await?.ok_or(LinkError::Missing)?;
        if !caller.may_touch(link.owner) {
            return Err(LinkError::Foreign);
        }
        if link.content.is_none() {
            return Err(LinkError::Deleted);
        }
        Ok(link)
    }

    /// Changes the link that `name` stands for. The change is durable, and seen by everybody, when this returns.
    ///
    /// # Errors
    /// [`LinkError`]; nothing was changed, unless the store failed.
    pub async fn update(&self, name: &str, change: LinkChange, caller: Caller) -> Result<Link, LinkError> {
        let key = self.get(name, caller).await?.key;
        if let Some(host) = change.url.as_ref().and_then(|url| self.own.led_to_by(url)) {
            return Err(LinkError::Refused(CreateError::LeadsBack(host)));
        }
        let now = UnixMs::from_clock(self.clock.unix_ms());
        if let Some(expiry) = change.expires_at.flatten().filter(|expiry| *expiry <= now) {
            return Err(LinkError::Refused(CreateError::ExpiryPassed(expiry)));
        }
        self.edit(key, Edit::Change(change)).await
    }

    /// Deletes the link that `name` stands for: its key stays taken, for ever.
    ///
    /// # Errors
    /// [`LinkError`]; nothing was deleted.
    pub async fn delete(&self, name: &str, caller: Caller) -> Result<(), LinkError> {
        let key = self.get(name, caller).await?.key;
        self.edit(key, Edit::Delete).await.map(drop)
    }

    async fn edit(&self, key: Key, edit: Edit) -> Result<Link, LinkError> {
        let edited = self.edits.submit((key, edit)).await??;
        edited.map(Arc::unwrap_or_clone).ok_or(LinkError::Deleted)
    }

    /// A page of an owner's live links. A search reads at most 10,000 links and may answer fewer than asked for, or
    /// none, with a cursor to go on from.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, request: ListRequest) -> Result<ListPage, StoreError> {
        let wanted = request.search.as_deref().map(str::to_lowercase);
        let mut after = request.after;
        let mut links = Vec::new();
        let mut read = 0;
        while read < SEARCH_DEPTH {
            let size = if wanted.is_some() { SEARCH_PAGE } else { request.limit };
            let query = ListQuery { owner: request.owner, tag: request.tag.clone(), after, limit: size };
            let page = self.store.list(query).await?;
            let last = page.len() < size;
            read += page.len();
            for link in page {
                after = Some(ListPosition { created_at: link.created_at, key: link.key });
                if wanted.as_deref().is_none_or(|text| self.holds(&link, text)) {
                    links.push(link);
                    if links.len() == request.limit {
                        return Ok(ListPage { links, next: after });
                    }
                }
            }
            if last {
                return Ok(ListPage { links, next: None });
            }
        }
        Ok(ListPage { links, next: after })
    }

    fn holds(&self, link: &Link, text: &str) -> bool {
        let Some(content) = &link.content else { return false };
        let name = link.alias.as_ref().map_or_else(|| self.code(link.key), |alias| alias.as_str().to_owned());
        [Some(content.url.as_str()), content.title.as_ref().map(Title::as_str), Some(&name)]
            .into_iter()
            .flatten()
            .any(|field| field.to_lowercase().contains(text))
    }

    fn code(&self, key: Key) -> String {
        self.codec.code(key).as_str().to_owned()
    }
}
