mod cases;
mod memory;
mod names;
#[cfg(feature = "postgres")]
mod postgres;
mod races;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod redis_cuts;
#[cfg(feature = "redis")]
mod redis_faults;
#[cfg(feature = "redis")]
mod redis_layer;
#[cfg(feature = "redis")]
mod redis_locks;
#[cfg(feature = "redis")]
mod redis_restarts;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite_file;
mod suites;
mod unknown;
