"""The supervision core: every decision of OTP's supervisor, as pure functions over plain data."""
