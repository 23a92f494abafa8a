#!/usr/bin/env bash
# Fuzzes the readers of msn-data, one target or all of them one after the other: fuzz/run.sh [SECONDS] [TARGET...]
# Begins with the fixtures of the tests and what earlier runs found (fuzz/corpus); a finding stops its target and lies in
# fuzz/artifacts. More than 2 GiB of memory, an allocation of more than 512 MiB or 20 s for one input are findings.
# Needs cargo-fuzz (`cargo install cargo-fuzz`); the stable toolchain will do.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-600}
shift || true
targets=("$@")
[ $# -gt 0 ] || targets=(images tar parquet idx cifar lists)
fixtures=crates/msn-data/tests/fixtures
seeds=target/fuzz-seeds
mkdir -p "$seeds"/{images,tar,parquet,idx,cifar,lists}
cp "$fixtures"/*.{jpg,png,gif,webp,tif,bmp} "$seeds/images"
cp "$fixtures"/*.tar "$seeds/tar"
cp "$fixtures"/*.parquet "$seeds/parquet"
# One label file of ten bytes, one image of 2 x 2 pixels; one record of each CIFAR.
printf '\x0a\x00\x00\x08\x01\x00\x00\x00\x01\x07\x00\x00\x00\x08\x03\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x02abcd' \
    > "$seeds/idx/one"
head -c 3073 /dev/zero > "$seeds/cifar/ten"
head -c 3074 /dev/zero > "$seeds/cifar/hundred"
printf 'path,label\na/b.png,cat\n"c, d.jpg",dog\n' > "$seeds/lists/table"
printf 'a/b.png\n# c\n\nd.jpg\n' > "$seeds/lists/text"

export RUSTC_BOOTSTRAP=1
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target"
    cargo fuzz run --fuzz-dir fuzz "$target" "fuzz/corpus/$target" "$seeds/$target" -- \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=512 -max_len=65536 \
        -print_final_stats=1
done
