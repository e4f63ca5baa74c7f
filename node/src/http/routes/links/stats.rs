//! `/api/v1/links/{code}/stats`: how often a link was followed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::refused;
use crate::domain::access::Scope;
use crate::domain::link::Link;
use crate::http::error::documented::{AccessProblems, LinkProblems, ServerProblems};
use crate::http::error::{Problem, ProblemBody, ProblemKind};
use crate::http::extract::{Authenticated, Name, Query};
use crate::http::state::Api;
use crate::ports::click_store::{ClickTotals, Day};

const DEFAULT_DAYS: u16 = 30;
/// A year, whichever.
const MAX_DAYS: u16 = 366;

/// Which days to show.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct StatsParams {
    /// The last so many days, 1 to 366, today among them; 30 unless given.
    days: Option<u16>,
}

/// How often a link was followed.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct LinkStatsResponse {
    /// Its code, or the alias it was given.
    #[schema(example = "4nBv2Kq")]
    code: String,
    /// How often it was followed, ever.
    clicks: u64,
    /// By day (UTC), latest first. Days without a click are left out.
    days: Vec<DayClicks>,
    /// How often it was followed since it has its limit, exactly; only for links with a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    visits: Option<i64>,
    /// How often it may be followed; only for links with a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_visits: Option<i64>,
}

/// How often a link was followed on one day.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct DayClicks {
    /// The day, in UTC.
    #[schema(example = "2026-11-25", format = Date)]
    day: String,
    /// How often.
    clicks: u64,
}

/// See how often a link was followed
///
/// Every redirected GET counts, but for HEAD and previews; bots are not told apart. A click shows within about a second.
#[utoipa::path(
    get,
    path = "/api/v1/links/{code}/stats",
    tag = "Links",
    params(("code" = String, Path, description = "A code or alias"), StatsParams),
    security(("bearer" = []), ("api_key" = [])),
    responses(
        (status = 200, description = "What was counted", body = LinkStatsResponse),
        (status = 400, description = "`invalid-query`", body = ProblemBody, content_type = "application/problem+json"),
        AccessProblems,
        LinkProblems,
        ServerProblems,
    )
)]
pub(in crate::http) async fn link_stats(
    State(api): State<Arc<Api>>,
    authenticated: Authenticated,
    Name(code): Name,
    Query(params): Query<StatsParams>,
) -> Result<Json<LinkStatsResponse>, Problem> {
    let caller = authenticated.allowed(Scope::LinksRead)?;
    let days = params.days()?;
    let link = api.links.get(&code, caller).await.map_err(|error| refused(error, caller))?;
    let totals = api.stats.of(&link, days).await?;
    Ok(Json(LinkStatsResponse::new(&api, &link, &totals)))
}

impl StatsParams {
    fn days(&self) -> Result<u16, Problem> {
        match self.days.unwrap_or(DEFAULT_DAYS) {
            days @ 1..=MAX_DAYS => Ok(days),
            _ => Err(Problem::new(ProblemKind::InvalidQuery, format!("use `days` of 1 to {MAX_DAYS}"))),
        }
    }
}

impl LinkStatsResponse {
    fn new(api: &Api, link: &Link, totals: &ClickTotals) -> Self {
        let limit = link.content.as_ref().and_then(|content| content.limit);
        Self {
            code: api.code(link),
            clicks: totals.total,
            days: totals.days.iter().map(DayClicks::new).collect(),
            visits: limit.map(|limit| limit.visits),
            max_visits: limit.map(|limit| limit.max),
        }
    }
}

impl DayClicks {
    fn new((day, clicks): &(Day, u64)) -> Self {
        Self { day: day.to_string(), clicks: *clicks }
    }
}
