#!/bin/sh
# strip.sh SITE_PACKAGES: remove what serving on a CPU never loads, a quarter of the image.
#
# OpenVINO's wheel holds plug-ins for GPUs and NPUs and readers of formats other than ONNX; NumPy's holds
# its tests and a Fortran compiler's front end; Pygments', which prints tracebacks, readers of all languages
# but Python; the modules of several hold symbols that only a linker reads. An import proves little of
# this: the compose stack, which decodes video, encodes and detects, does.
set -eu
cd "$1"
(
  cd openvino
  rm -rf include tools torch/__pycache__
  cd libs
  rm -f cache.json libopenvino_c.so* libopenvino_auto*_plugin.so libopenvino_hetero_plugin.so
  rm -f libopenvino_intel_gpu_plugin.so libopenvino_intel_npu_plugin.so
  for format in ir tensorflow tensorflow_lite pytorch paddle gguf jax; do
    rm -f "libopenvino_${format}_frontend.so"*
  done
)
find numpy -name tests -type d -prune -exec rm -r {} +
rm -rf numpy/f2py numpy/distutils numpy/_core/include numpy/_core/lib numpy/_core/_simd.*.so
find pygments/lexers -name '*.py' ! -name __init__.py ! -name _mapping.py ! -name python.py -delete
# numpy.libs stays: its OpenBLAS does not load once it is stripped
for package in av numpy PIL yaml; do  # the others come stripped
  [ ! -d "$package" ] || find "$package" -name '*.so*' -exec strip --strip-unneeded {} +
done
find . -name '*.pyi' -delete
find . -name __pycache__ -type d -prune -exec rm -r {} +
