#include "CRecordingABI.h"
