//! [`Refusal`]: why a request is not answered with success.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::decode::TooMany;

/// Why a request is not answered with success; nothing of it is acknowledged.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("no tenant has this key")]
    Unauthorized,
    #[error("the body, or what it holds, has more than {max_bytes} bytes")]
    TooLong { max_bytes: usize },
    #[error("more than {max_events} events at once")]
    TooManyEvents { max_events: usize },
    #[error("the body ended early")]
    CutShort,
    #[error("the body took too long")]
    TooSlow,
    #[error("too many events a second")]
    TooFast { retry_after: Duration },
    #[error("there is no room now")]
    Busy { retry_after: Duration },
    #[error("the events could not be stored")]
    Failed { retry_after: Duration },
}

impl From<TooMany> for Refusal {
    fn from(TooMany { max_events }: TooMany) -> Self {
        Self::TooManyEvents { max_events }
    }
}

impl Refusal {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::TooLong { .. } | Self::TooManyEvents { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::CutShort => StatusCode::BAD_REQUEST,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooFast { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy { .. } | Self::Failed { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooFast { retry_after }
            | Self::Busy { retry_after }
            | Self::Failed { retry_after } => Some(*retry_after),
            _ => None,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.to_string() }));
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        if let Some(retry_after) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds(retry_after)));
        }
        if matches!(self, Self::Unauthorized) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

// The header has whole seconds, and 0 would mean at once.
const fn seconds(duration: Duration) -> u64 {
    let up = if duration.subsec_nanos() > 0 { 1 } else { 0 };
    let seconds = duration.as_secs().saturating_add(up);
    if seconds == 0 { 1 } else { seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_whole_and_never_none() {
        let check = |millis, expected| {
            assert_eq!(
                seconds(Duration::from_millis(millis)),
                expected,
                "{millis} ms"
            );
        };
        check(0, 1);
        check(1, 1);
        check(1000, 1);
        check(1001, 2);
        assert_eq!(seconds(Duration::MAX), u64::MAX);
    }
}
