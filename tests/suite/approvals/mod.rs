mod flow;
mod machines;
mod otp;
mod status;
mod waiting;
mod withdraw;
