// The CUDA twin of numba_kernels.py, compiled at run time (NVRTC) with fused multiply-add off. With it, the
// products of a shared edge would no longer be exact negatives, and the ids would differ from the CPU's.
//
// n pictures are drawn at once. Each quad (row, column) of a frame is one thread. A face that covers few pixels is
// tested at once; others go to a queue that warps process. Each pixel keeps the greatest 64-bit key: the bits of
// 1/distance (float32, positive, so they order like integers) above the complement of the face's id, so that the
// lowest id wins a tie, whatever the order of the threads.

#define UNBOUNDED (1.0 / 0.0)

typedef unsigned long long Key;
typedef unsigned char Byte;

struct Vertex { double x, y, w; };

struct Size {
    int rows, cols;      // of the mesh
    int height, width;   // of the picture
};

__device__ inline Vertex vertex(const float* depth, const double* m, int cols, int i, int j) {
    double d = (double)depth[(long long)i * cols + j];
    return {d * (m[0] * j + (m[1] * i + m[2])) + m[3],
            d * (m[4] * j + (m[5] * i + m[6])) + m[7],
            d * (m[8] * j + (m[9] * i + m[10])) + m[11]};
}

__device__ inline double least(double a, double b, double c) { return fmin(fmin(a, b), c); }
__device__ inline double most(double a, double b, double c) { return fmax(fmax(a, b), c); }

// Corners of the face with this id, in the order of numba_kernels.
__device__ inline void corners(int id, int rows, int cols, int* row, int* col) {
    int base = id >> 1, second = id & 1;
    if (base < rows * cols) {
        int i = base / cols, j = base - i * cols;
        row[0] = i;     col[0] = j + second;
        row[1] = i + 1; col[1] = j;
        row[2] = i + second; col[2] = j + 1;
    } else if (second) {
        row[0] = rows - 1; col[0] = cols - 1; row[1] = 0; col[1] = 0; row[2] = rows - 1; col[2] = 0;
    } else {
        row[0] = 0; col[0] = cols - 1; row[1] = 0; col[1] = 0; row[2] = rows - 1; col[2] = cols - 1;
    }
}

// -- occlusions: see ex4d.geometry.occlusion and numba_kernels._occlusion_row ---------------------------------

__device__ inline bool sharp(double dot, double pp, double qq, double cos_limit) {
    return dot > 0 && dot * dot > cos_limit * cos_limit * pp * qq;
}

__device__ inline bool sharp_exactly(double dot, double pp, double qq, double cos_limit) {
    return dot > cos_limit * (sqrt(pp * qq) + 1e-12);
}

__device__ bool is_occlusion(Vertex a, Vertex b, Vertex c, double cos_limit, double extent_limit, double max_slope) {
    // Edges a->b, a->c, and b->c.
    double px = b.x - a.x, py = b.y - a.y, pz = b.w - a.w;
    double qx = c.x - a.x, qy = c.y - a.y, qz = c.w - a.w;
    double rx = c.x - b.x, ry = c.y - b.y, rz = c.w - b.w;
    double pp = px * px + py * py + pz * pz, qq = qx * qx + qy * qy + qz * qz, rr = rx * rx + ry * ry + rz * rz;
    double at_a = px * qx + py * qy + pz * qz;
    double at_b = -(px * rx + py * ry + pz * rz);
    double at_c = qx * rx + qy * ry + qz * rz;
    bool found = sharp(at_a, qq, pp, cos_limit) || sharp(at_b, pp, rr, cos_limit) || sharp(at_c, qq, rr, cos_limit);
    if (found && least(pp * qq, pp * rr, qq * rr) < 1e-14)
        found = sharp_exactly(at_a, pp, qq, cos_limit) || sharp_exactly(at_b, pp, rr, cos_limit) ||
                sharp_exactly(at_c, qq, rr, cos_limit);
    double ex = most(a.x, b.x, c.x) - least(a.x, b.x, c.x);
    double ey = most(a.y, b.y, c.y) - least(a.y, b.y, c.y);
    double ez = most(a.w, b.w, c.w) - least(a.w, b.w, c.w);
    return found || most(ex, ey, ez) >= extent_limit || ez > max_slope * (fmax(ex, ey) + 1e-8);
}

extern "C" __global__ void occlusions(
    const float* depths, const double* lenses, const double* extent_limits, Size size, double cos_limit,
    double max_slope, int border_is_real, Byte* reliable) {
    int j = blockIdx.x * blockDim.x + threadIdx.x, i = blockIdx.y;
    int rows = size.rows, cols = size.cols;
    if (j >= cols) return;
    long long frame = (long long)blockIdx.z * rows * cols;
    Byte* own = reliable + frame;
    if (!border_is_real && (i == 0 || j == 0 || i == rows - 1 || j == cols - 1)) own[i * cols + j] = 0;
    if (i == rows - 1 || j == cols - 1) return;
    const float* depth = depths + frame;
    const double* k = lenses + 9 * blockIdx.z;
    Vertex v[2][2];
    for (int r = 0; r < 2; ++r)
        for (int c = 0; c < 2; ++c) {
            double d = (double)depth[(i + r) * cols + j + c];
            v[r][c] = {d * ((j + c + 0.5 - k[2]) / k[0]), d * ((i + r + 0.5 - k[5]) / k[4]), d};
        }
    double extent_limit = extent_limits[blockIdx.z];
    // Threads only ever write 0 here, so their order does not matter.
    if (is_occlusion(v[0][0], v[1][0], v[0][1], cos_limit, extent_limit, max_slope))
        own[i * cols + j] = own[(i + 1) * cols + j] = own[i * cols + j + 1] = 0;
    if (is_occlusion(v[0][1], v[1][0], v[1][1], cos_limit, extent_limit, max_slope))
        own[(i + 1) * cols + j] = own[i * cols + j + 1] = own[(i + 1) * cols + j + 1] = 0;
}

// -- rasteriser ------------------------------------------------------------------------------------------

__device__ inline void put(
    Key* key, double e0, double e1, double e2, double w0, double w1, double w2, double lowest, double highest,
    bool crossing, double farthest, int id) {
    if (!((e0 >= 0 && e1 >= 0 && e2 >= 0) || (e0 <= 0 && e1 <= 0 && e2 <= 0))) return;
    double determinant = e0 * w0 + e1 * w1 + e2 * w2;
    if (determinant == 0) return;
    double inverse = (e0 + e1 + e2) / determinant;
    if (crossing && !(inverse > 0 && inverse <= highest)) return;
    inverse = fmin(fmax(inverse, lowest), highest);
    if (inverse < farthest) return;
    unsigned bits = __float_as_uint((float)inverse);
    if (bits == 0) return;
    Key mine = ((Key)bits << 32) | (0xFFFFFFFFu - (unsigned)id);
    if (mine > *key) atomicMax(key, mine);  // a stale *key can only be smaller, so nothing is lost
}

// Faces that are too large for one thread: narrow ones from the front of the queue, wide ones from its back.
__device__ inline void push(Key* queue, unsigned* queued, unsigned capacity, bool wide, int frame, int id) {
    unsigned place = atomicAdd(queued + wide, 1);
    queue[wide ? capacity - 1 - place : place] = ((Key)frame << 32) | (unsigned)id;
}

__device__ inline bool is_wide(double xa, double ya, double xb, double yb, double xc, double yc) {
    return !(fabs((xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)) < 2.0 * 4096);
}

extern "C" __global__ void rasterise_small(
    const float* depths, const double* matrices, Size size, double near, double far, Key* keys, Key* queue,
    unsigned* queued, unsigned capacity, int small_box, const Byte* needed) {
    int j = blockIdx.x * blockDim.x + threadIdx.x, i = blockIdx.y, frame = blockIdx.z;
    int cols = size.cols, rows = size.rows, width = size.width, height = size.height;
    if (j >= cols - 1) return;
    const float* depth = depths + (long long)frame * rows * cols;
    const double* m = matrices + 12 * frame;
    // Faces with 0 at all corners do not exist; without this array all exist.
    if (needed) needed += (long long)frame * rows * cols;
    if (i == 0 && j == 0 &&
        (!needed || needed[0] | needed[cols - 1] | needed[(rows - 1) * cols] | needed[rows * cols - 1])) {
        push(queue, queued, capacity, true, frame, 2 * rows * cols);
        push(queue, queued, capacity, true, frame, 2 * rows * cols + 1);
    }
    bool first = true, second = true;
    if (needed) {
        Byte across = needed[(i + 1) * cols + j] | needed[i * cols + j + 1];
        first = across | needed[i * cols + j];
        second = across | needed[(i + 1) * cols + j + 1];
        if (!first && !second) return;
    }
    Vertex v0 = vertex(depth, m, cols, i, j), v1 = vertex(depth, m, cols, i + 1, j);
    Vertex v2 = vertex(depth, m, cols, i, j + 1), v3 = vertex(depth, m, cols, i + 1, j + 1);
    int id = 2 * (i * cols + j);
    if (fmin(fmin(v0.w, v1.w), fmin(v2.w, v3.w)) < near) {
        if (fmax(fmax(v0.w, v1.w), fmax(v2.w, v3.w)) < near) return;
        if (first) push(queue, queued, capacity, true, frame, id);
        if (second) push(queue, queued, capacity, true, frame, id + 1);
        return;
    }
    double u0 = 1 / v0.w, u1 = 1 / v1.w, u2 = 1 / v2.w, u3 = 1 / v3.w;
    double p0 = v0.x * u0, p1 = v1.x * u1, p2 = v2.x * u2, p3 = v3.x * u3;
    double x_low = fmin(fmin(p0, p1), fmin(p2, p3)) - 1e-6, x_high = fmax(fmax(p0, p1), fmax(p2, p3)) + 1e-6;
    if (!(x_high >= 0.5 && x_low <= width - 0.5)) return;
    int c0 = (int)ceil(fmax(x_low, 0.5) - 0.5), c1 = (int)floor(fmin(x_high, width - 0.5) - 0.5);
    if (c0 > c1) return;
    double q0 = v0.y * u0, q1 = v1.y * u1, q2 = v2.y * u2, q3 = v3.y * u3;
    double y_low = fmin(fmin(q0, q1), fmin(q2, q3)) - 1e-6, y_high = fmax(fmax(q0, q1), fmax(q2, q3)) + 1e-6;
    if (!(y_high >= 0.5 && y_low <= height - 0.5)) return;
    int r0 = (int)ceil(fmax(y_low, 0.5) - 0.5), r1 = (int)floor(fmin(y_high, height - 0.5) - 0.5);
    if (r0 > r1) return;
    if ((long long)(c1 - c0 + 1) * (r1 - r0 + 1) > small_box) {
        if (first) push(queue, queued, capacity, is_wide(p0, q0, p1, q1, p2, q2), frame, id);
        if (second) push(queue, queued, capacity, is_wide(p2, q2, p1, q1, p3, q3), frame, id + 1);
        return;
    }
    Key* picture = keys + (long long)frame * height * width;
    double low = fmin(u1, u2), high = fmax(u1, u2), farthest = 1 / far;
    for (int r = r0; r <= r1; ++r) {
        double yc = r + 0.5;
        double b0 = v0.y - yc * v0.w, b1 = v1.y - yc * v1.w, b2 = v2.y - yc * v2.w, b3 = v3.y - yc * v3.w;
        for (int c = c0; c <= c1; ++c) {
            double xc = c + 0.5;
            double a0 = v0.x - xc * v0.w, a1 = v1.x - xc * v1.w, a2 = v2.x - xc * v2.w, a3 = v3.x - xc * v3.w;
            double diagonal = a1 * b2 - a2 * b1;
            Key* key = picture + (long long)r * width + c;
            if (first)
                put(key, diagonal, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0, v0.w, v1.w, v2.w, fmin(low, u0), fmax(high, u0),
                    false, farthest, id);
            if (second)
                put(key, a1 * b3 - a3 * b1, a3 * b2 - a2 * b3, -diagonal, v2.w, v1.w, v3.w, fmin(low, u3),
                    fmax(high, u3), false, farthest, id + 1);
        }
    }
}

// Leftmost and rightmost x of the polygon near the height y; see numba_kernels._face.
__device__ void span(const double* px, const double* py, int n, double y, double* left, double* right) {
    for (int i = 0; i < n; ++i) {
        int j = i + 1 < n ? i + 1 : 0;
        double ya = py[i], yb = py[j];
        if ((ya < y - 1e-3 && yb < y - 1e-3) || (ya > y + 1e-3 && yb > y + 1e-3)) continue;
        if (fabs(yb - ya) < 1e-2) {
            *left = least(*left, px[i], px[j]);
            *right = most(*right, px[i], px[j]);
            continue;
        }
        for (int side = -1; side <= 1; side += 2) {
            double s = fmin(fmax((y + side * 1e-3 - ya) / (yb - ya), 0.0), 1.0);
            double x = px[i] + s * (px[j] - px[i]);
            *left = fmin(*left, x);
            *right = fmax(*right, x);
        }
    }
}

// One warp per face of the narrow or the wide queue. For wide ones, each blockIdx.y takes every gridDim.y-th group of
// four rows, so that a face over the whole picture does not keep a single warp busy. Lanes go along rows or columns,
// whichever takes fewer steps: a long diagonal sliver has many rows of a few pixels.
extern "C" __global__ void rasterise_large(
    const float* depths, const double* matrices, Size size, double near, double far, Key* keys, const Key* queue,
    const unsigned* queued, unsigned capacity, int wide) {
    int lane = threadIdx.x & 31, warps = gridDim.x * (blockDim.x >> 5);
    int rows = size.rows, cols = size.cols, width = size.width, height = size.height;
    unsigned count = queued[wide];
    for (unsigned q = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5); q < count; q += warps) {
        Key entry = queue[wide ? capacity - 1 - q : q];
        int frame = (int)(entry >> 32), id = (int)(entry & 0xFFFFFFFFu);
        const float* depth = depths + (long long)frame * rows * cols;
        const double* m = matrices + 12 * frame;
        int row[3], col[3];
        corners(id, rows, cols, row, col);
        Vertex v[3];
        for (int i = 0; i < 3; ++i) v[i] = vertex(depth, m, cols, row[i], col[i]);
        double px[4], py[4];
        int n = 0;
        for (int i = 0; i < 3; ++i) {
            Vertex a = v[i], b = v[i < 2 ? i + 1 : 0];
            if (a.w >= near) { px[n] = a.x / a.w; py[n] = a.y / a.w; ++n; }
            if ((a.w >= near) != (b.w >= near)) {
                double s = (near - a.w) / (b.w - a.w);
                px[n] = (a.x + s * (b.x - a.x)) / near;
                py[n] = (a.y + s * (b.y - a.y)) / near;
                ++n;
            }
        }
        if (n < 3) continue;
        double low = py[0], high = py[0], x_low = px[0], x_high = px[0];
        for (int i = 1; i < n; ++i) {
            low = fmin(low, py[i]); high = fmax(high, py[i]);
            x_low = fmin(x_low, px[i]); x_high = fmax(x_high, px[i]);
        }
        if (!(high >= 0 && low <= height && x_high >= 0 && x_low <= width)) continue;
        int row_from = max(0, (int)floor(fmax(low, 0.0) - 0.5));
        int row_to = min(height - 1, (int)ceil(fmin(high, (double)height) - 0.5));
        double least_w = least(v[0].w, v[1].w, v[2].w);
        bool crossing = least_w < near;
        double highest = 1 / fmax(least_w, near), lowest = 1 / most(v[0].w, v[1].w, v[2].w), farthest = 1 / far;
        double doubled_area = 0;
        for (int i = 0; i < n; ++i) {
            int j = i + 1 < n ? i + 1 : 0;
            doubled_area += (px[i] - px[0]) * (py[j] - py[0]) - (px[j] - px[0]) * (py[i] - py[0]);
        }
        // A row costs about five pixels to set up.
        double row_count = row_to - row_from + 1;
        double mean_span = fmin(0.5 * fabs(doubled_area) / fmax(high - low, 1.0) + 2, (double)width);
        bool lanes_along_rows = ceil(row_count / 32) * (5 + mean_span) < row_count * (5 + ceil(mean_span / 32));
        Key* picture = keys + (long long)frame * height * width;
        // The rows of this block, in order: number k is row 4 (slices (k / 4) + slice) + k % 4.
        int slices = gridDim.y, slice = blockIdx.y;
        int first = 4 * max(0, ((row_from >> 2) - slice + slices - 1) / slices);
        for (int k = first + (lanes_along_rows ? lane : 0);; k += lanes_along_rows ? 32 : 1) {
            int r = 4 * (slices * (k >> 2) + slice) + (k & 3);
            if (r > row_to) break;
            if (r < row_from) continue;
            double yc = r + 0.5, left = UNBOUNDED, right = -UNBOUNDED;
            span(px, py, n, yc, &left, &right);
            if (!(right >= 0 && left <= width)) continue;
            int c_from = max(0, (int)floor(fmax(left, 0.0) - 0.502));
            int c_to = min(width - 1, (int)ceil(fmin(right, (double)width) - 0.498));
            double b0 = v[0].y - yc * v[0].w, b1 = v[1].y - yc * v[1].w, b2 = v[2].y - yc * v[2].w;
            for (int c = c_from + (lanes_along_rows ? 0 : lane); c <= c_to; c += lanes_along_rows ? 1 : 32) {
                double xc = c + 0.5;
                double a0 = v[0].x - xc * v[0].w, a1 = v[1].x - xc * v[1].w, a2 = v[2].x - xc * v[2].w;
                put(picture + (long long)r * width + c, a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0,
                    v[0].w, v[1].w, v[2].w, lowest, highest, crossing, farthest, id);
            }
        }
    }
}

// -- shading: see numba_kernels.shade --------------------------------------------------------------------

extern "C" __global__ void shade(
    const float* depths, const double* matrices, const Byte* reliable, const Byte* pictures, Size size,
    int release_compat, const Key* keys, Byte* colour, Byte* mask, int* ids, float* inverse_distance) {
    int c = blockIdx.x * blockDim.x + threadIdx.x, r = blockIdx.y, frame = blockIdx.z;
    if (c >= size.width) return;
    long long pixel = ((long long)frame * size.height + r) * size.width + c;
    Key key = keys[pixel];
    int id = key ? (int)(0xFFFFFFFFu - (unsigned)(key & 0xFFFFFFFFu)) : -1;
    if (ids) {
        ids[pixel] = id;
        inverse_distance[pixel] = __uint_as_float((unsigned)(key >> 32));
    }
    colour[3 * pixel] = colour[3 * pixel + 1] = colour[3 * pixel + 2] = mask[pixel] = 0;
    if (id < 0) return;
    int row[3], col[3], seen[3];
    corners(id, size.rows, size.cols, row, col);
    long long source = (long long)frame * size.rows * size.cols, at[3];
    for (int i = 0; i < 3; ++i) {
        at[i] = source + (long long)row[i] * size.cols + col[i];
        seen[i] = reliable[at[i]];
    }
    if (seen[0] + seen[1] + seen[2] == 0) return;
    double a[3], b[3], xc = c + 0.5, yc = r + 0.5;
    for (int i = 0; i < 3; ++i) {
        Vertex v = vertex(depths + source, matrices + 12 * frame, size.cols, row[i], col[i]);
        a[i] = v.x - xc * v.w;
        b[i] = v.y - yc * v.w;
    }
    double e0 = a[1] * b[2] - a[2] * b[1], e1 = a[2] * b[0] - a[0] * b[2], e2 = a[0] * b[1] - a[1] * b[0];
    double total = e0 + e1 + e2;
    e0 = seen[0] * e0 / total; e1 = seen[1] * e1 / total; e2 = seen[2] * e2 / total;
    double alpha = e0 + e1 + e2;
    if (!(alpha * 255 > 125)) return;
    mask[pixel] = 255;
    double scale = release_compat ? 1.0 : 1 / alpha, rounding = release_compat ? 1e-9 : 0.5;
    for (int channel = 0; channel < 3; ++channel) {
        double value = e0 * pictures[3 * at[0] + channel] + e1 * pictures[3 * at[1] + channel] +
                       e2 * pictures[3 * at[2] + channel];
        colour[3 * pixel + channel] = (Byte)fmin(value * scale + rounding, 255.0);
    }
}
