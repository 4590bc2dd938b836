//! What a request is counted under: a small, fixed set, since clients choose paths and every label value costs
//! memory for good. The gateway's routes are known here by name only; whether one is served is its matter.

/// Where WebSockets are opened; never a component's.
pub const WEBSOCKET_PATH: &str = "/v1/ws";

/// A route, or all the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Embeddings,
    Classify,
    Embed,
    Similarity,
    Predict,
    Tokenize,
    OpenInfer,
    OpenOther,
    Models,
    Model,
    HostInfer,
    HostGenerate,
    HostCatalog,
    WebSocket,
    Other,
}

impl Route {
    pub(super) const ALL: [Self; 15] = [
        Self::Embeddings,
        Self::Classify,
        Self::Embed,
        Self::Similarity,
        Self::Predict,
        Self::Tokenize,
        Self::OpenInfer,
        Self::OpenOther,
        Self::Models,
        Self::Model,
        Self::HostInfer,
        Self::HostGenerate,
        Self::HostCatalog,
        Self::WebSocket,
        Self::Other,
    ];

    pub(super) fn of(path: &str) -> Self {
        match path {
            "/v1/embeddings" => Self::Embeddings,
            "/v1/classify" => Self::Classify,
            "/embed" => Self::Embed,
            "/similarity" => Self::Similarity,
            "/predict" => Self::Predict,
            "/tokenize" => Self::Tokenize,
            "/v1/models" => Self::Models,
            "/v2" => Self::OpenOther,
            brink_protocol::INFER_PATH => Self::HostInfer,
            brink_protocol::GENERATE_PATH => Self::HostGenerate,
            brink_protocol::CATALOG_PATH => Self::HostCatalog,
            WEBSOCKET_PATH => Self::WebSocket,
            _ if path.starts_with("/v1/models/") => Self::Model,
            _ if path.starts_with("/v2/models/") && path.ends_with("/infer") => Self::OpenInfer,
            _ if path.starts_with("/v2/") => Self::OpenOther,
            _ => Self::Other,
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Embeddings => "/v1/embeddings",
            Self::Classify => "/v1/classify",
            Self::Embed => "/embed",
            Self::Similarity => "/similarity",
            Self::Predict => "/predict",
            Self::Tokenize => "/tokenize",
            Self::OpenInfer => "/v2/models/{name}/infer",
            Self::OpenOther => "/v2",
            Self::Models => "/v1/models",
            Self::Model => "/v1/models/{id}",
            Self::HostInfer => brink_protocol::INFER_PATH,
            Self::HostGenerate => brink_protocol::GENERATE_PATH,
            Self::HostCatalog => brink_protocol::CATALOG_PATH,
            Self::WebSocket => WEBSOCKET_PATH,
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_counted_under_a_fixed_set() {
        let check = |path: &str, label: &str| assert_eq!(Route::of(path).label(), label, "{path}");
        check("/v1/models/a/b", "/v1/models/{id}");
        check("/v2/models/a/versions/1/infer", "/v2/models/{name}/infer");
        check("/v2/models/a/ready", "/v2");
        check("/v2/health/live", "/v2");
        check("/v2x", "other");
        check("/etc/passwd", "other");
    }

    #[test]
    fn every_route_is_at_its_place_and_has_a_path_of_its_own() {
        for (place, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route as usize, place);
            assert_eq!(Route::of(route.label()), route);
        }
    }
}
