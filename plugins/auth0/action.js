// Action of the profile; subject_token_type is yours, as in urn:example:supertokens. Secret: ISSUER. Dependency: jose 5
const { createRemoteJWKSet, jwtVerify } = require('jose');
exports.onExecuteCustomTokenExchange = async (event, api) => {
  const keys = createRemoteJWKSet(new URL(event.secrets.ISSUER + '/keys'));
  let claims;
  try {
    ({ payload: claims } = await jwtVerify(event.transaction.subject_token, keys, {
      issuer: event.secrets.ISSUER, audience: 'https://YOUR_TENANT/', algorithms: ['RS256', 'ES256'], maxTokenAge: '2m' }));
  } catch (e) {
    api.access.rejectInvalidSubjectToken('the assertion is not good');
    return;
  }
  if (!claims.target_id) {
    api.access.rejectInvalidSubjectToken('no run has loaded this account');
    return;
  }
  api.authentication.setUserById(claims.target_id);
};
