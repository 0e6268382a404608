mod calls;
mod middleware;
mod responses;
mod support;
mod transports;
mod verifier;
