//! Benchmarks of Brink. Each compares with a baseline in the same run and prints ratios:
//! absolute times on a shared machine mean nothing.

mod baseline;
mod chat;
mod classify;
mod environment;
mod gpu;
mod hit;
mod latency;
mod load;
mod miss;
mod neighbours;
mod nginx;
mod overload;
mod process;
mod report;
mod soak;
mod streams;
mod texts;
mod waiting;

use std::net::SocketAddr;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Benchmarks of Brink; run them with `cargo xtask bench NAME`")]
struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// What a cached answer costs, against a native handler and a static file
    Hit(hit::Options),
    /// What computing costs, against ONNX Runtime alone
    Miss(miss::Options),
    /// What slow misses and a hostile component do to hits beside them
    Neighbours(neighbours::Options),
    /// What classifying pictures and files costs, against ONNX Runtime alone
    Classify(classify::Options),
    /// What chats in company cost against a bare decode loop, what a long prompt does to others, and cached texts
    Chat(chat::Options),
    /// What batching gains on a GPU, and how much of it reaches the client
    Gpu(gpu::Options),
    /// Latency at half load, with batching and one by one
    Latency(latency::Options),
    /// Three times what the host can do, for a minute: who is answered, who is refused, and how fast
    Overload(overload::Options),
    /// Memory under random shapes for a long time
    Soak(soak::Options),
    /// Thousands of clients that are streamed to, over WebSockets and as events
    Streams(streams::Options),
    /// Memory per 1,000 waiting requests
    Waiting(waiting::Options),
    /// The native baseline of `hit`, as a server of its own
    #[command(hide = true)]
    NativeServer {
        address: SocketAddr,
        file_bytes: usize,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().benchmark {
        Benchmark::Hit(options) => hit::run(options).await,
        Benchmark::Miss(options) => miss::run(options).await,
        Benchmark::Neighbours(options) => neighbours::run(options).await,
        Benchmark::Classify(options) => classify::run(options).await,
        Benchmark::Chat(options) => chat::run(options).await,
        Benchmark::Gpu(options) => gpu::run(options).await,
        Benchmark::Latency(options) => latency::run(options).await,
        Benchmark::Overload(options) => overload::run(options).await,
        Benchmark::Soak(options) => soak::run(options).await,
        Benchmark::Streams(options) => streams::run(options).await,
        Benchmark::Waiting(options) => waiting::run(options).await,
        Benchmark::NativeServer {
            address,
            file_bytes,
        } => baseline::serve_native(address, environment::MODEL, file_bytes).await,
    }
}
