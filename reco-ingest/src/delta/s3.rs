//! Tables at `s3://` URLs.

use std::collections::HashMap;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use url::Url;

use super::open::location_error;
use crate::error::Result;

/// The store of a bucket, made of the options alone, and the prefix of the table within.
pub(super) fn store(
    name: &str,
    location: &Url,
    options: &HashMap<String, String>,
) -> Result<(Arc<dyn ObjectStore>, String)> {
    let bucket = location
        .host_str()
        .ok_or_else(|| location_error(name, "it names no bucket"))?;
    let prefix =
        Path::from_url_path(location.path()).map_err(|error| location_error(name, error))?;
    let mut builder = AmazonS3Builder::new().with_bucket_name(bucket);
    for (key, value) in options {
        let key: AmazonS3ConfigKey = key
            .to_ascii_lowercase()
            .parse()
            .map_err(|error: object_store::Error| location_error(name, error))?;
        builder = builder.with_config(key, value);
    }
    let store = builder
        .build()
        .map_err(|error| location_error(name, error))?;
    Ok((Arc::new(store), prefix.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, key: &str) -> Result<String> {
        let options = [(key.to_owned(), "eu-central-1".to_owned())].into();
        store(url, &Url::parse(url).unwrap(), &options).map(|(_, prefix)| prefix)
    }

    #[test]
    fn options_are_those_of_the_store() {
        assert_eq!(
            check("s3://shop/raw/events", "AWS_REGION").unwrap(),
            "raw/events"
        );
        assert_eq!(check("s3://shop/a%20b", "aws_region").unwrap(), "a b");
        assert_eq!(check("s3://shop", "region").unwrap(), "");
        let error = check("s3://shop/raw", "aws_regoin").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`s3://shop/raw` is not the location of a table"
        );
        assert!(
            std::error::Error::source(&error)
                .unwrap()
                .to_string()
                .contains("aws_regoin")
        );
    }
}
