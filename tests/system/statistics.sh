# SPDX-License-Identifier: Apache-2.0
# What a dataset says of its values, against NumPy: parity/statistics.py.
. "$(dirname "$0")/system.sh"

python=${PYTHON:-python3}
"$python" -c 'import numpy, tifffile, nibabel' 2>why ||
    skip "$python: $(tail -n 1 why)"
PYTHONDONTWRITEBYTECODE=1 "$python" "$here/../parity/statistics.py" \
    "$MILLRACE" 21 4 || fail "statistics differ"
