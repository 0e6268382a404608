mod authenticators;
mod verifier;
