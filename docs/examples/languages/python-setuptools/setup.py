# SPDX-License-Identifier: Apache-2.0

from setuptools import Extension, setup

setup(name="squares", version="0.1", ext_modules=[Extension("squares", ["squares.c"])])
