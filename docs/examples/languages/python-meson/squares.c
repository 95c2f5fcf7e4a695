// SPDX-License-Identifier: Apache-2.0

#include <Python.h>

__attribute__((noinline)) static unsigned square(unsigned x) { return x * x; }

static PyObject *sum_of_squares(PyObject *module, PyObject *number) {
  (void)module;
  unsigned sum = 0, n = (unsigned)PyLong_AsUnsignedLong(number);
  for (unsigned i = 1; i <= n; i++) sum += square(i);
  return PyLong_FromUnsignedLong(sum);
}

static PyMethodDef methods[] = {{"sum_of_squares", sum_of_squares, METH_O, NULL}, {0}};

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "squares", .m_size = -1,
                                 .m_methods = methods};

PyMODINIT_FUNC PyInit_squares(void) { return PyModule_Create(&definition); }
