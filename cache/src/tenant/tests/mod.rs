//! The table of tenants as a whole.

mod file;
mod stored;

use std::num::{NonZeroU32, NonZeroU64};

use proptest::prelude::*;

use super::*;

prop_compose! {
    fn limits()(
        rate in prop::option::of((1u32..=1_000_000, 1u32..=1_000_000)),
        concurrent in prop::option::of(1u32..=100_000),
        model_ms in prop::option::of(1u64..=600_000_000),
    ) -> TenantLimits {
        let number = |value| NonZeroU32::new(value).unwrap();
        TenantLimits {
            requests_per_second: rate.map(|(per_second, burst)| Rate {
                per_second: number(per_second),
                burst: number(burst),
            }),
            max_concurrent: concurrent.map(number),
            model_ms_per_minute: model_ms.map(|value| NonZeroU64::new(value).unwrap()),
        }
    }
}

/// Any table of up to seven tenants.
fn tenants() -> impl Strategy<Value = Tenants> {
    let tenant = (limits(), 0..=MAX_KEYS);
    prop::collection::vec(tenant, 1..8).prop_map(|list| {
        let tenant = |(index, (limits, keys)): (usize, (TenantLimits, usize))| Tenant {
            name: format!("tenant-{index}"),
            key_hashes: (0..keys).map(|key| hash(index, key)).collect(),
            limits,
        };
        Tenants::new(list.into_iter().enumerate().map(tenant).collect()).unwrap()
    })
}

fn hash(tenant: usize, key: usize) -> KeyHash {
    KeyHash::of(&format!("key-{tenant}-{key}"))
}

#[test]
fn largest_table_fits_its_stored_form() {
    let limits = TenantLimits {
        requests_per_second: Some(Rate {
            per_second: NonZeroU32::new(1_000_000).unwrap(),
            burst: NonZeroU32::new(1_000_000).unwrap(),
        }),
        max_concurrent: NonZeroU32::new(100_000),
        model_ms_per_minute: NonZeroU64::new(600_000_000),
    };
    let list = |count, keys| {
        let tenant = |index| Tenant {
            name: format!("a-name-of-thirty-characters-{index:05}"),
            key_hashes: (0..keys).map(|key| hash(index, key)).collect(),
            limits,
        };
        Tenants::new((0..count).map(tenant).collect())
    };
    assert!(list(MAX_TENANTS, 1).is_ok());
    assert_eq!(
        list(MAX_TENANTS, 2).unwrap_err().to_string(),
        "one thing is wrong in the table of tenants:\n  \
         the stored table has 1160006 bytes; at most 1000000 are allowed"
    );
    assert_eq!(
        list(MAX_TENANTS + 1, 0).unwrap_err().list[0].problem,
        "has 10001 tenants; 1 to 10000 are wanted"
    );
}
