// A CloudFront function (runtime 2.0) for viewer requests: wallets from a bucket that rgsd uploads to, without rgsd.
// It answers every URL shape that rgsd answers: 0 with everything, every other number with `returning`.
//
// If s3.prefix is set, make it the origin's path.

const V2 = /^(?:\/(?:bitcoin|testnet|signet|regtest))?\/(?:snapshot\/v2|v2\/snapshot)\/(\d+)$|^\/v2\/(\d+)\.bin$/;
const V1 = /^(?:\/(?:bitcoin|testnet|signet|regtest|v1\/rgs))?\/snapshot\/(?:0\/)?(\d+)$|^\/(\d+)\.bin$/;

function file(path, shape, folder) {
    const found = path.match(shape);
    if (!found) {
        return null;
    }
    return folder + (/^0+$/.test(found[1] || found[2]) ? '0' : 'returning');
}

function handler(event) {
    const request = event.request;
    const path = request.uri.replace(/\/+/g, '/');
    request.uri = file(path, V2, '/v2/snapshot/') || file(path, V1, '/snapshot/') || path;
    return request;
}
