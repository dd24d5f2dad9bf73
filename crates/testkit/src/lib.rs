//! For tests only: contract cases of every port, in-memory fakes, builders, a clock that stands still.
