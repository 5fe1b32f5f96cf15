//! A service of its own that serves what the quickstart has published: neither Burn nor DataFusion.

use std::sync::Arc;

use anyhow::{Context, ensure};
use reco_core::object_store::local::LocalFileSystem;
use reco_core::{ModelRegistry, Session};
use reco_serve::Recommender;
use reco_train::{Gru4RecLoader, PopularityLoader, Prod2VecLoader};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let root = std::env::args().nth(1).context("usage: host FOLDER-OF-THE-RUN")?;
    let registry = ModelRegistry::new(Arc::new(LocalFileSystem::new_with_prefix(root)?));
    let champion = registry.resolve("next-item", "champion").await?;
    let known = registry.get("next-item", champion).await?.encoder()?;
    let session: Session = known.vocabulary().items().iter().take(3).cloned().collect();

    let recommender = Recommender::builder(registry, "next-item")
        .loader(Gru4RecLoader)
        .loader(PopularityLoader)
        .loader(Prod2VecLoader)
        .open()
        .await?;
    let answer = recommender.recommend(&session, 5)?;
    ensure!(answer.ranking.len() == 5 && answer.version == champion, "unexpected {answer:?}");
    println!("version {} recommends {:?}", answer.version, answer.ranking);
    Ok(())
}
