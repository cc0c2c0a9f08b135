#include "runtime/cuda/norm_storage.h"
