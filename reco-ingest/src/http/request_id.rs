//! What names a request, so that one that is delivered twice is known again.

use axum::http::{HeaderName, request};
use uuid::Uuid;

/// The header by which a client names a request that it may send again.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

// Hashed, so that a name of any length and any bytes is one of 16.
const NAMESPACE: Uuid = Uuid::from_u128(0x6a1c_5f0e_93d4_4b77_8f21_c0de_5e55_10e5);

/// The id of a request: of the client's header, or what its carrier says; none without either.
///
/// Of one tenant, so that nobody can take another's.
pub(super) fn request_id(parts: &request::Parts, tenant: &str) -> Option<Uuid> {
    let of = |kind: &str, name: &[u8]| {
        let name = [tenant.as_bytes(), kind.as_bytes(), name].join(&0);
        Uuid::new_v5(&NAMESPACE, &name)
    };
    match parts.headers.get(&IDEMPOTENCY_KEY) {
        Some(key) => Some(of("client", key.as_bytes())),
        None => carried(parts).map(|id| of("carrier", id.as_bytes())),
    }
}

// API Gateway names each request once; the invocation has another id, which is that of its retries.
#[cfg(feature = "lambda")]
fn carried(parts: &request::Parts) -> Option<&str> {
    use lambda_http::request::RequestContext;

    let of_gateway = match parts.extensions.get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV1(context)) => context.request_id.as_deref(),
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.as_deref(),
        _ => None,
    };
    let of_invocation = || {
        let context = parts.extensions.get::<lambda_http::Context>()?;
        Some(context.request_id.as_str())
    };
    of_gateway.or_else(of_invocation)
}

#[cfg(not(feature = "lambda"))]
const fn carried(_: &request::Parts) -> Option<&str> {
    None
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn id(key: Option<&str>, tenant: &str) -> Option<Uuid> {
        let mut request = Request::new(());
        if let Some(key) = key {
            let key = key.parse().unwrap();
            request.headers_mut().insert(IDEMPOTENCY_KEY, key);
        }
        request_id(&request.into_parts().0, tenant)
    }

    #[test]
    fn a_key_names_a_request_of_one_tenant() {
        assert_eq!(id(None, "a"), None);
        assert_eq!(id(Some("k1"), "a"), id(Some("k1"), "a"));
        assert_ne!(id(Some("k1"), "a"), id(Some("k2"), "a"));
        assert_ne!(id(Some("k1"), "a"), id(Some("k1"), "b"));
    }
}
