//! The sections of the settings file: name, default and range of every setting.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use brink_protocol::limits::{MAX_INPUTS, MAX_MESSAGE_BYTES};
use toml::Value;

use super::reader::{Reader, Section};
use super::{Level, LogConfig};
use crate::batch::{BatchConfig, BreakerConfig};
use crate::generate::GenerateConfig;
use crate::guest::{BodyLimits, FastDoorConfig, GuestConfig, OutboundConfig};
use crate::inference::{DeviceChoice, InferenceConfig, MAX_NICENESS};
use crate::live::LiveConfig;
use crate::live::merge::OutboxLimits;
use crate::results::ResultsConfig;
use crate::server::{ConnectionLimits, ServerConfig};
use crate::service::{KeptLimits, RepositoryConfig, ServiceConfig, Versions};
use crate::telemetry::{Endpoint, TelemetryConfig, Trust};

/// Longest time that any setting may name, in milliseconds: a day.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const MIB: u64 = 1 << 20;
/// Largest memory that any setting may name, in MiB: a tebibyte.
const MAX_MIB: u64 = 1 << 20;

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn milliseconds(section: &mut Section<'_>, key: &str, default: Duration) -> Duration {
    section.duration(key, default, 1..=DAY_MS)
}

pub(super) fn server(reader: &mut Reader) -> ServerConfig {
    let mut section = reader.section("server");
    ServerConfig {
        listen: section.address("listen", loopback(3000)),
        admin_listen: section.address("admin_listen", loopback(3001)),
        inference_listen: section.address("inference_listen", loopback(3002)),
        worker_threads: section.integer("worker_threads", 0, 0..=1024),
        max_in_flight: section.integer("max_in_flight", 2048, 1..=100_000),
        max_compressed_streams: section.integer("max_compressed_streams", 100, 0..=100_000),
        connections: ConnectionLimits {
            max_connections: section.integer("max_connections", 10_000, 1..=1_000_000),
            header_timeout: milliseconds(
                &mut section,
                "header_timeout_ms",
                Duration::from_secs(30),
            ),
            write_timeout: milliseconds(&mut section, "write_timeout_ms", Duration::from_secs(30)),
            max_header_bytes: section.integer("max_header_bytes", 64 << 10, (8 << 10)..=(1 << 20)),
            max_h2_streams: section.integer("max_h2_streams", 128, 1..=10_000),
            drain_timeout: milliseconds(&mut section, "drain_timeout_ms", Duration::from_secs(30)),
        },
    }
}

pub(super) fn guest(reader: &mut Reader) -> GuestConfig {
    let default = GuestConfig::default();
    let mut section = reader.section("guest");
    let memory_mib = (default.max_memory_bytes as u64) / MIB;
    let max_instances = section.integer("max_instances", default.max_instances, 1..=10_000);
    let config = GuestConfig {
        max_instances,
        max_idle: section.integer("max_idle", default.max_idle, 0..=10_000),
        max_uses: section.integer("max_uses", default.max_uses, 1..=1_000_000_000),
        idle_timeout: milliseconds(&mut section, "idle_timeout_ms", default.idle_timeout),
        max_memory_bytes: section.integer::<usize>("max_memory_mib", memory_mib as usize, 2..=4096)
            << 20,
        request_timeout: milliseconds(&mut section, "request_timeout_ms", Duration::from_secs(310)),
        max_run: milliseconds(&mut section, "max_run_ms", default.max_run),
        response_idle_timeout: milliseconds(
            &mut section,
            "response_idle_timeout_ms",
            default.response_idle_timeout,
        ),
        // Work after a response runs in an instance, so there is never more of it than of those.
        max_background: section
            .integer("max_background", default.max_background, 1..=10_000)
            .min(max_instances),
        background_timeout: milliseconds(
            &mut section,
            "background_timeout_ms",
            default.background_timeout,
        ),
        read_ahead_bytes: section.integer(
            "read_ahead_bytes",
            default.read_ahead_bytes,
            0..=(16 << 20),
        ),
        cache_dir: section.path("cache_dir"),
        ..default
    };
    drop(section);
    GuestConfig {
        request_body: request_body(reader),
        fast_door: fast_door(reader, &config.fast_door),
        outbound: outbound(reader, config.outbound),
        ..config
    }
}

fn fast_door(reader: &mut Reader, default: &FastDoorConfig) -> FastDoorConfig {
    let mut section = reader.section("fast_door");
    FastDoorConfig {
        enabled: section.choice("mode", default.enabled, &[("auto", true), ("off", false)]),
        timeout: section.duration("timeout_ms", default.timeout, 10..=1000),
    }
}

fn request_body(reader: &mut Reader) -> BodyLimits {
    let mut section = reader.section("request_body");
    BodyLimits {
        max_bytes: section.integer("max_bytes", 32 * MIB, 1..=(1 << 40)),
        idle_timeout: milliseconds(&mut section, "idle_timeout_ms", Duration::from_secs(15)),
        total_timeout: milliseconds(&mut section, "total_timeout_ms", Duration::from_secs(60)),
    }
}

fn outbound(reader: &mut Reader, default: OutboundConfig) -> OutboundConfig {
    let mut section = reader.section("outbound");
    OutboundConfig {
        connect_timeout: milliseconds(&mut section, "connect_timeout_ms", default.connect_timeout),
        first_byte_timeout: milliseconds(
            &mut section,
            "first_byte_timeout_ms",
            default.first_byte_timeout,
        ),
        between_bytes_timeout: milliseconds(
            &mut section,
            "between_bytes_timeout_ms",
            default.between_bytes_timeout,
        ),
        max_idle_connections: section.integer(
            "max_idle_connections",
            default.max_idle_connections,
            0..=10_000,
        ),
        idle_connection_timeout: milliseconds(
            &mut section,
            "idle_connection_timeout_ms",
            default.idle_connection_timeout,
        ),
    }
}

pub(super) fn key_value(reader: &mut Reader) -> u64 {
    reader
        .section("key_value")
        .integer("max_mib", 256u64, 1..=MAX_MIB)
        * MIB
}

pub(super) fn inference(reader: &mut Reader) -> InferenceConfig {
    let default = InferenceConfig::default();
    let mut section = reader.section("inference");
    let device = section.parsed(
        "device",
        DeviceChoice::Auto,
        Value::String("auto".to_owned()),
        |text| text.parse().ok(),
        "\"auto\", \"cpu\", \"cuda\" or \"cuda:N\"",
    );
    let sessions = section.integer("sessions", 0, 0..=1024);
    let cuda_memory_mib: u64 = section.integer("cuda_memory_mib", 0, 0..=MAX_MIB);
    InferenceConfig {
        device,
        sessions: (sessions > 0).then_some(sessions),
        niceness: section.integer("niceness", default.niceness, 0..=MAX_NICENESS.into()),
        intra_threads: section.integer("intra_threads", default.intra_threads, 1..=1024),
        idle_shrink_after: section.duration(
            "idle_shrink_after_ms",
            default.idle_shrink_after,
            100..=DAY_MS,
        ),
        cuda_memory_bytes: cuda_memory_mib * MIB,
        cuda_graphs: section.flag("cuda_graphs", default.cuda_graphs),
        max_output_bytes: max_output_mib(&mut section, default.max_output_bytes) << 20,
        ..default
    }
}

/// What is above could not be sent: a message also has names and lengths in it.
fn max_output_mib(section: &mut Section<'_>, default: usize) -> usize {
    const AROUND: usize = 4 << 20;
    let most = (MAX_MESSAGE_BYTES - AROUND) >> 20;
    section.integer("max_output_mib", default >> 20, 1..=most as u64)
}

pub(super) fn batch(reader: &mut Reader) -> BatchConfig {
    let default = BatchConfig::default();
    let mut section = reader.section("batch");
    let items = section.integer("max_batch_items", 0, 0..=65_536);
    let tokens = section.integer("max_batch_tokens", 0, 0..=(1 << 24));
    let ratio = section.number("max_padding_ratio", 0.0, 0.0..=1000.0);
    if ratio > 0.0 && ratio < 1.0 {
        section.reject(
            "max_padding_ratio",
            &format!("is {ratio}; 0 (automatic), or 1 and more, is wanted"),
        );
    }
    let config = BatchConfig {
        max_batch_items: (items > 0).then_some(items),
        max_batch_tokens: (tokens > 0).then_some(tokens),
        max_padding_ratio: (ratio >= 1.0).then_some(ratio),
        max_queue_delay: section.duration("max_queue_delay_ms", default.max_queue_delay, 0..=500),
        max_queue_items: section.integer(
            "max_queue_items",
            default.max_queue_items,
            2048..=1_000_000,
        ),
        max_queue_tokens: section.integer(
            "max_queue_tokens",
            default.max_queue_tokens,
            (1 << 15)..=(1 << 28),
        ),
        max_queue_bytes: section.integer::<usize>(
            "max_queue_mib",
            default.max_queue_bytes >> 20,
            1..=MAX_MIB,
        ) << 20,
        max_tenant_share: section.number("max_tenant_share", default.max_tenant_share, 0.0..=1.0),
        breaker: BreakerConfig {
            failures: section.integer("breaker_failures", default.breaker.failures, 1..=1000),
            open_for: section.duration("breaker_open_ms", default.breaker.open_for, 10..=60_000),
        },
        // Models say these themselves.
        shape_buckets: default.shape_buckets,
        bucket_items: default.bucket_items,
    };
    if !config.tenant_has_room_for_a_call() {
        let (share, items) = (config.max_tenant_share, config.max_queue_items);
        section.reject(
            "max_tenant_share",
            &format!("is {share}; that of max_queue_items ({items}) must be {MAX_INPUTS} or more, the inputs of one call"),
        );
    }
    config
}

pub(super) fn generate(reader: &mut Reader) -> GenerateConfig {
    let default = GenerateConfig::default();
    let mut section = reader.section("generate");
    let share = section.number("max_tenant_share", default.max_tenant_share, 0.0..=1.0);
    if share == 0.0 {
        section.reject("max_tenant_share", "is 0; above 0 and up to 1 is wanted");
    }
    GenerateConfig {
        max_timeout: milliseconds(&mut section, "max_timeout_ms", default.max_timeout),
        max_waiting: section.integer("max_waiting", default.max_waiting, 1..=100_000),
        max_tenant_share: share,
        max_gap_ratio: section.number("max_gap_ratio", default.max_gap_ratio, 1.1..=100.0),
        max_prefill_tokens: section.integer(
            "max_prefill_tokens",
            default.max_prefill_tokens,
            16..=16_384,
        ),
        min_gap: section.duration("min_gap_ms", default.min_gap, 0..=10_000),
        max_kept: section.integer("max_kept", default.max_kept, 1..=1_000_000),
        keep: section.duration("keep_ms", default.keep, 0..=DAY_MS),
        ..default
    }
}

pub(super) fn results(reader: &mut Reader) -> ResultsConfig {
    let default = ResultsConfig::default();
    let mut section = reader.section("results");
    ResultsConfig {
        max_bytes: section.integer("max_mib", default.max_bytes / MIB, 0..=MAX_MIB) * MIB,
        max_follower_wait: milliseconds(
            &mut section,
            "max_follower_wait_ms",
            default.max_follower_wait,
        ),
        max_leader_age: milliseconds(&mut section, "max_leader_age_ms", default.max_leader_age),
        max_flights: section.integer("max_flights", default.max_flights, 2048..=10_000_000),
    }
}

pub(super) fn service(
    reader: &mut Reader,
    generate: &GenerateConfig,
    live: &LiveConfig,
) -> ServiceConfig {
    let default = ServiceConfig::default();
    let mut section = reader.section("service");
    ServiceConfig {
        max_timeout: milliseconds(&mut section, "max_timeout_ms", default.max_timeout),
        max_tenants: section.integer("max_tenants", default.max_tenants, 1..=1_000_000),
        max_decoded_bytes: section.integer(
            "max_decoded_mib",
            default.max_decoded_bytes >> 20,
            1..=MAX_MIB,
        ) << 20,
        text_gap: generate.min_gap,
        paced: live.paced_source,
        kept: KeptLimits {
            max: generate.max_kept,
            time: generate.keep,
        },
    }
}

pub(super) fn models(reader: &mut Reader) -> RepositoryConfig {
    let default = RepositoryConfig::default();
    let mut section = reader.section("models");
    let versions = [("latest", Versions::Latest), ("all", Versions::All)];
    let versions = section.choice("versions", default.versions, &versions);
    let idle = section.duration("idle_unload_after_ms", Duration::ZERO, 0..=(30 * DAY_MS));
    let max_mib = section.integer("max_memory_mib", 0, 0..=MAX_MIB);
    RepositoryConfig {
        versions,
        idle_unload_after: (!idle.is_zero()).then_some(idle),
        max_memory_bytes: (max_mib > 0).then_some(max_mib * MIB),
        retry_load_after: milliseconds(
            &mut section,
            "retry_load_after_ms",
            default.retry_load_after,
        ),
        load_timeout: section.duration("load_timeout_ms", default.load_timeout, 1000..=DAY_MS),
    }
}

pub(super) fn live(reader: &mut Reader) -> LiveConfig {
    let default = LiveConfig::default();
    let mut section = reader.section("live");
    LiveConfig {
        enabled: section.flag("enabled", default.enabled),
        max_sockets: section.integer("max_sockets", default.max_sockets, 1..=1_000_000),
        max_sockets_per_tenant: section.integer(
            "max_sockets_per_tenant",
            default.max_sockets_per_tenant,
            1..=1_000_000,
        ),
        max_compressed: section.integer("max_compressed", default.max_compressed, 0..=100_000),
        max_requests_per_socket: section.integer(
            "max_requests_per_socket",
            default.max_requests_per_socket,
            1..=1_000,
        ),
        max_frame_bytes: section.integer(
            "max_frame_bytes",
            default.max_frame_bytes,
            1_024..=(64 << 20),
        ),
        max_answer_bytes: section.integer(
            "max_answer_bytes",
            default.max_answer_bytes,
            1_024..=(256 << 20),
        ),
        outbox: OutboxLimits {
            budget: section.integer(
                "send_budget_bytes",
                default.outbox.budget,
                4_096..=(64 << 20),
            ),
            gap: section.duration("min_gap_ms", default.outbox.gap, 0..=1_000),
        },
        ping_interval: milliseconds(&mut section, "ping_interval_ms", default.ping_interval),
        pong_timeout: milliseconds(&mut section, "pong_timeout_ms", default.pong_timeout),
        write_timeout: milliseconds(&mut section, "write_timeout_ms", default.write_timeout),
        max_lifetime: section.duration(
            "max_lifetime_seconds",
            default.max_lifetime,
            1..=(7 * DAY_MS / 1000),
        ),
        paced_source: section.flag("paced_source", default.paced_source),
    }
}

pub(super) fn log(reader: &mut Reader) -> LogConfig {
    let mut section = reader.section("log");
    LogConfig {
        json: section.choice("format", false, &[("text", false), ("json", true)]),
        level: section.choice(
            "level",
            Level::Info,
            &[
                ("error", Level::Error),
                ("warn", Level::Warn),
                ("info", Level::Info),
                ("debug", Level::Debug),
            ],
        ),
    }
}

pub(super) fn telemetry(reader: &mut Reader) -> TelemetryConfig {
    let default = TelemetryConfig::default();
    let mut section = reader.section("telemetry");
    let text = |text: &str| Value::String(text.to_owned());
    let (gateway_trust, inference_trust) = trust(&mut section);
    TelemetryConfig {
        endpoint: section.parsed(
            "otlp_endpoint",
            None,
            text(""),
            |url| match url {
                "" => Some(None),
                url => Endpoint::parse(url).map(Some),
            },
            "an URL without query and password, such as \"http://127.0.0.1:4318\", or \"\"",
        ),
        sample_ratio: section.number("sample_ratio", default.sample_ratio, 0.0..=1.0),
        gateway_trust,
        inference_trust,
        service_name: section.parsed(
            "service_name",
            default.service_name.clone(),
            text(&default.service_name),
            |name| (1..=128).contains(&name.len()).then(|| name.to_owned()),
            "a name of 1 to 128 bytes",
        ),
        max_queue_spans: section.integer(
            "max_queue_spans",
            default.max_queue_spans,
            16..=1_000_000,
        ),
        export_timeout: section.duration("export_timeout_ms", default.export_timeout, 10..=600_000),
        export_interval: section.duration(
            "export_interval_ms",
            default.export_interval,
            1..=60_000,
        ),
    }
}

/// Whether the gateway's clients, and those of the inference listener, are trusted.
fn trust(section: &mut Section<'_>) -> (Trust, Trust) {
    let words = [
        ("never", (Trust::Nobody, Trust::Nobody)),
        ("inference", (Trust::Nobody, Trust::Parent)),
        ("always", (Trust::Parent, Trust::Parent)),
    ];
    let default = TelemetryConfig::default();
    let default = (default.gateway_trust, default.inference_trust);
    section.choice("trust_parent", default, &words)
}
