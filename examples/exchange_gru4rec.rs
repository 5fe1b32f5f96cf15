//! # Take a trained network to PyTorch
//!
//! Trains small session GRUs of every sort that there is and writes the weights of each as a safetensors file,
//! which PyTorch's `nn.GRUCell` and `nn.Embedding` load, with some sessions and their scores beside it.
//! `benches/peers/gru_exchange.py` loads them and compares.
//!
//! ```sh
//! cargo run --example exchange_gru4rec -- /tmp/networks
//! python benches/peers/gru_exchange.py /tmp/networks
//! ```

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Context;
use reco_core::{ItemIdx, SessionDataset, SessionEncoding, Split, Timestamp};
use reco_train::{Engine, Gru4Rec, Gru4RecConfig, Gru4RecTrainer, Scorer, Trainer};

fn main() -> anyhow::Result<()> {
    let dir = PathBuf::from(std::env::args().nth(1).context("name a folder")?);
    fs::create_dir_all(&dir)?;

    // ## Sessions that go round in circles
    let mut builder = SessionDataset::builder(SessionEncoding::default());
    for session in 0..600_i64 {
        for position in 0..5 {
            let item = (session * 7 + position * (1 + session % 3)) % 50;
            let time = Timestamp::from_second(100 * session + position)?;
            builder.push(&session.to_string(), &item.to_string(), time)?;
        }
    }
    let data = builder.build()?;
    let split = Split::from_parts(data.clone(), data);

    // ## Networks: how the items are read, and in how many layers
    let config = Gru4RecConfig {
        layer: 24,
        batch_size: 32,
        n_sample: 64,
        ..Gru4RecConfig::default()
    };
    let networks = [
        ("constrained", config.clone()),
        (
            "two_layers",
            Gru4RecConfig {
                lower_layers: vec![40],
                ..config.clone()
            },
        ),
        (
            "embedding",
            Gru4RecConfig {
                constrained_embedding: false,
                embedding: 10,
                ..config.clone()
            },
        ),
        (
            "one_hot",
            Gru4RecConfig {
                constrained_embedding: false,
                ..config
            },
        ),
    ];
    for (name, config) in networks {
        let trainer = Gru4RecTrainer::new(config.clone(), Engine::cpu(2));
        let model = trainer.fit(&split.train, &mut |_| ControlFlow::Continue(()))?;

        // ## The weights, and what they say of some sessions
        let file = dir.join(name).with_extension("safetensors");
        fs::write(&file, model.to_safetensors()?)?;
        let n_items = model.encoder().vocabulary().len();
        let sessions: Vec<Vec<usize>> = (1..=8_usize)
            .map(|len| {
                (0..len)
                    .map(|position| (len * 11 + position * 3) % n_items)
                    .collect()
            })
            .collect();
        let layers: Vec<usize> = config
            .lower_layers
            .iter()
            .copied()
            .chain([config.layer])
            .collect();
        let case = serde_json::json!({
            "n_items": n_items,
            "layers": layers,
            "constrained_embedding": config.constrained_embedding,
            "embedding": config.embedding,
            "scores": scores(&model, &sessions)?,
            "sessions": sessions,
        });
        fs::write(file.with_extension("json"), case.to_string())?;

        // ## And back
        let back = Gru4Rec::from_safetensors(&fs::read(&file)?, model.encoder().clone(), config)?;
        assert_eq!(scores(&back, &sessions)?, scores(&model, &sessions)?);
    }
    Ok(())
}

/// The scores of all items for each session, which is rows of the embedding.
fn scores(model: &Gru4Rec, sessions: &[Vec<usize>]) -> anyhow::Result<Vec<Vec<f32>>> {
    let n_items = model.encoder().vocabulary().len();
    let mut all = Vec::new();
    for session in sessions {
        let session = session
            .iter()
            .map(|&item| Ok(ItemIdx(u32::try_from(item)?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut scores = vec![0.0; n_items];
        model.score_batch(&[&session], &mut scores)?;
        all.push(scores);
    }
    Ok(all)
}
