# ruff: noqa: A005  (mirrors sitsfusion.io; never imported as plain `io`)
